//! Values that steps refer to, and the resolution of `${...}`.

use std::collections::BTreeMap;

use crate::{
    rig::model::Device,
    run::images::Images,
    step::{Template, Within},
};

/// Values in reach of a step: captures and procedure arguments, then the device's declared values and images.
#[derive(Debug, Clone, Default)]
pub struct Values {
    local: BTreeMap<String, String>,
}

/// A placeholder that could not be resolved. The check rules this out, except for captures that did not take part in a match.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`${{{name}}}` has no value here")]
pub struct Unresolved {
    /// The name in the placeholder.
    pub name: String,
}

impl Values {
    /// Sets a value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.local.insert(name.into(), value.into());
    }

    /// A value by its own name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.local.get(name).map(String::as_str)
    }

    /// Text with every placeholder replaced.
    pub fn text(&self, template: &Template, device: &Device, images: &Images) -> Result<String, Unresolved> {
        self.replace(&template.0, device, images, &|value| value.to_owned())
    }

    /// A pattern with every placeholder replaced by its value, taken literally.
    pub fn pattern(&self, template: &Template, device: &Device, images: &Images) -> Result<String, Unresolved> {
        self.replace(&template.0, device, images, &regex::escape)
    }

    fn replace(
        &self,
        text: &str,
        device: &Device,
        images: &Images,
        quote: &dyn Fn(&str) -> String,
    ) -> Result<String, Unresolved> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let (name, after) = placeholder(&rest[start + 2..]);
            // A placeholder may stand inside another: `${image.${image}.length}`.
            let name = self.replace(name, device, images, &|value| value.to_owned())?;
            let value = self.lookup(&name, device, images).ok_or(Unresolved { name })?;
            out.push_str(&quote(&value));
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn lookup(&self, name: &str, device: &Device, images: &Images) -> Option<String> {
        if let Some(value) = self.local.get(name) {
            return Some(value.clone());
        }
        if let Some(declared) = name.strip_prefix("declared.") {
            return device.declared.get(declared).cloned();
        }
        let (role, property) = name.strip_prefix("image.")?.rsplit_once('.')?;
        let image = images.get(role)?;
        match property {
            "length" => Some(image.bytes.len().to_string()),
            "version" => image.version.clone(),
            _ => None,
        }
    }
}

/// Splits what follows `${` into the placeholder's name and the rest after its closing brace, minding nested placeholders.
fn placeholder(text: &str) -> (&str, &str) {
    let mut depth = 1_usize;
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'$' if bytes.get(i + 1) == Some(&b'{') => {
                depth += 1;
                i += 1;
            }
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return (&text[..i], &text[i + 1..]);
                }
            }
            _ => {}
        }
        i += 1;
    }
    (text, "")
}

/// The duration a step means.
pub fn span(within: &Within, device: &Device) -> Result<std::time::Duration, Unresolved> {
    match within {
        Within::Span(span) => Ok(*span),
        Within::Declared(name) => {
            let value = device.declared.get(name).and_then(|text| text.parse::<crate::units::Span>().ok());
            value.map(std::time::Duration::from).ok_or_else(|| Unresolved { name: format!("declared.{name}") })
        }
    }
}
