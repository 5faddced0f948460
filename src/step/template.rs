//! Placeholders in texts and patterns.

use super::Template;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Text(String),
    /// `${...}`.
    Value(ValueRef),
}

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueRef {
    /// A capture or parameter.
    Name(String),
    /// `declared.NAME`.
    Declared(String),
    /// `image.ROLE.FIELD`.
    Image(Role, ImageField),
}

/// Which image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// By its name.
    Named(String),
    /// By the value of a parameter or capture: `image.${image}.length`.
    Parameter(String),
}

/// What of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageField {
    /// Bytes, in decimal.
    Length,
    /// Version the device reports when it runs it.
    Version,
}

/// Why a template is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub help: &'static str,
}

const FORMS: &str =
    "write `${name}` for a capture or parameter, `${declared.name}`, `${image.role.length}` or `${image.role.version}`";

impl Template {
    /// Its pieces.
    ///
    /// # Errors
    /// If a placeholder is not closed or not of a known form.
    pub fn parts(&self) -> Result<Vec<Part>, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = self.0.as_str();
        while let Some(at) = rest.find("${") {
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            let inner = &rest[at + 2..];
            let end = closing(inner)
                .ok_or_else(|| TemplateError { message: "`${` is not closed".into(), help: "write `}` after the name" })?;
            parts.push(Part::Value(ValueRef::parse(&inner[..end])?));
            rest = &inner[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(parts)
    }

    /// The text, if there is no placeholder in it.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains("${")).then_some(self.0.as_str())
    }

    /// Replaces the placeholders.
    ///
    /// # Errors
    /// If the template is malformed, or what `value` returns.
    pub fn fill<E: From<TemplateError>>(&self, mut value: impl FnMut(&ValueRef) -> Result<String, E>) -> Result<String, E> {
        let mut out = String::new();
        for part in self.parts()? {
            match part {
                Part::Text(text) => out.push_str(&text),
                Part::Value(reference) => out.push_str(&value(&reference)?),
            }
        }
        Ok(out)
    }
}

/// Where the placeholder ends, nested ones skipped.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl ValueRef {
    /// Reads what stands between the braces.
    ///
    /// # Errors
    /// If it is of no known form.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError { message: "the placeholder is empty".into(), help: FORMS });
        }
        let wrong = || {
            let shown: String = text.chars().take(60).collect();
            TemplateError { message: format!("`{shown}` does not name a value"), help: FORMS }
        };
        if let Some(name) = text.strip_prefix("declared.") {
            return if is_variable(name) { Ok(Self::Declared(name.to_owned())) } else { Err(wrong()) };
        }
        if let Some(rest) = text.strip_prefix("image.") {
            let (role, field) = rest.rsplit_once('.').ok_or_else(wrong)?;
            let field = match field {
                "length" => ImageField::Length,
                "version" => ImageField::Version,
                _ => return Err(wrong()),
            };
            let parameter = role.strip_prefix("${").and_then(|role| role.strip_suffix('}'));
            return match parameter {
                Some(name) if is_variable(name) => Ok(Self::Image(Role::Parameter(name.to_owned()), field)),
                None if is_variable(role) => Ok(Self::Image(Role::Named(role.to_owned()), field)),
                _ => Err(wrong()),
            };
        }
        if is_variable(text) { Ok(Self::Name(text.to_owned())) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{ImageField, Part, Role, Template, ValueRef};

    fn parts(text: &str) -> Vec<Part> {
        Template(text.to_owned()).parts().unwrap()
    }

    #[test]
    fn placeholders_of_every_form_are_read() {
        assert_eq!(parts("plain { } $"), [Part::Text("plain { } $".into())]);
        assert_eq!(
            parts("update ${image.${image}.length}!"),
            [
                Part::Text("update ".into()),
                Part::Value(ValueRef::Image(Role::Parameter("image".into()), ImageField::Length)),
                Part::Text("!".into())
            ]
        );
        assert_eq!(
            parts("${a}${declared.b-c}${image.lock-v2.version}"),
            [
                Part::Value(ValueRef::Name("a".into())),
                Part::Value(ValueRef::Declared("b-c".into())),
                Part::Value(ValueRef::Image(Role::Named("lock-v2".into()), ImageField::Version)),
            ]
        );
        assert_eq!(parts(""), []);
    }

    #[test]
    fn malformed_placeholders_are_refused() {
        for text in [
            "${",
            "${}",
            "a ${b",
            "${a b}",
            "${image.x}",
            "${image.x.size}",
            "${declared.}",
            "${${a}}",
            "${image.${.length}",
            "${é}",
        ] {
            assert!(Template(text.to_owned()).parts().is_err(), "{text}");
        }
    }

    #[test]
    fn filling_replaces_each_placeholder_once() {
        let filled = Template("<${a}|${b}>".into())
            .fill(|v| {
                Ok::<_, super::TemplateError>(match v {
                    ValueRef::Name(name) if name == "a" => "${b}".to_owned(),
                    _ => "2".to_owned(),
                })
            })
            .unwrap();
        assert_eq!(filled, "<${b}|2>");
    }
}
