//! JSON schemas (draft 2020-12) from the tables, for editors.

use serde_json::{Map as Object, Value as Json, json};

use super::shape::{Key, Keys, OneOf, Shape};
use crate::units::Dimension;

/// The schema of a whole document, as text with a final line feed.
#[must_use]
pub fn json_schema(id: &str, title: &str, keys: &'static Keys) -> String {
    let mut schemas = Schemas { defs: Object::new() };
    let mut root = schemas.keys(keys);
    if let Some(object) = root.as_object_mut() {
        object.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        object.insert("$id".into(), json!(id));
        object.insert("title".into(), json!(title));
        object.insert("$defs".into(), Json::Object(schemas.defs));
    }
    let mut text = serde_json::to_string_pretty(&root).unwrap_or_default();
    text.push('\n');
    text
}

struct Schemas {
    defs: Object<String, Json>,
}

impl Schemas {
    /// A definition by name, made once; recursion ends here.
    fn reference(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Json) -> Json {
        if !self.defs.contains_key(name) {
            self.defs.insert(name.to_owned(), Json::Null);
            let made = make(self);
            self.defs.insert(name.to_owned(), made);
        }
        json!({"$ref": format!("#/$defs/{name}")})
    }

    fn shape(&mut self, shape: &'static Shape) -> Json {
        // Plain YAML numbers and booleans are taken as they are written wherever text is expected.
        let text = json!(["string", "number", "boolean"]);
        let duration = Dimension::Time.pattern();
        match shape {
            Shape::Text => json!({"type": ["string", "number", "boolean", "null"]}),
            Shape::Pattern | Shape::Template => json!({"type": text}),
            Shape::Line | Shape::Path => json!({"type": text, "minLength": 1}),
            Shape::ValueName => json!({"type": text, "pattern": "^[A-Za-z0-9_.{}-][A-Za-z0-9_.${}-]*$"}),
            Shape::Name => json!({"type": "string", "pattern": "^[a-z][a-z0-9-]{0,63}$"}),
            Shape::Variable => json!({"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,63}$"}),
            Shape::ReasonCode => json!({"type": "string", "pattern": "^[A-Z][A-Z0-9]*(-[A-Z0-9]+)*$", "maxLength": 40}),
            Shape::Duration(..) => json!({"type": "string", "pattern": duration}),
            Shape::Within => {
                json!({"type": "string", "anyOf": [{"pattern": duration}, {"pattern": "^declared\\.[a-z][a-z0-9-]*$"}]})
            }
            Shape::Integer(least, most) => {
                json!({"type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": "^-?([0-9]+|0[xX][0-9a-fA-F]+)$"})
            }
            Shape::Address => {
                json!({"type": ["integer", "string"], "minimum": 0, "maximum": u32::MAX, "pattern": "^([0-9]+|0[xX][0-9a-fA-F]+)$"})
            }
            Shape::Bytes => json!({"type": text, "pattern": "^\\s*([0-9a-fA-F]\\s*[0-9a-fA-F]\\s*)+$"}),
            Shape::Sha256 => json!({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}),
            Shape::Percent => json!({"type": "string", "pattern": "^(100(\\.0)?|[0-9]{1,2}(\\.[0-9])?) ?%$"}),
            Shape::Rate => json!({"type": "string", "pattern": crate::units::Dimension::Rate.pattern()}),
            Shape::Flag => json!({"type": "boolean"}),
            Shape::Exactly(wanted) => json!({"const": wanted}),
            Shape::Word(words) => json!({
                "oneOf": words.iter().map(|word| json!({"const": word.word, "description": word.what})).collect::<Vec<_>>()
            }),
            Shape::List(item, least) => json!({"type": "array", "items": self.shape(item), "minItems": least}),
            Shape::Map(keys) => self.reference(keys.name, |s| s.keys(keys)),
            Shape::Named(value) => json!({
                "type": "object",
                "propertyNames": {"pattern": "^[a-z][a-z0-9-]{0,63}$"},
                "additionalProperties": self.shape(value),
            }),
            Shape::One(one) => self.reference(one().name, |s| s.one(one())),
        }
    }

    fn keys(&mut self, keys: &'static Keys) -> Json {
        let properties = self.properties(keys.keys);
        let required: Vec<&str> = keys.keys.iter().filter(|key| key.needed).map(|key| key.name).collect();
        let others = keys.others.map_or(json!(false), |shape| self.shape(shape));
        let mut object = json!({
            "type": "object",
            "description": keys.what,
            "properties": properties,
            "required": required,
            "additionalProperties": others,
        });
        let mut conditions = Vec::new();
        for group in keys.groups {
            let mut choices: Vec<Json> = group.keys.iter().map(|key| json!({"required": [key]})).collect();
            if !group.needed {
                choices.push(json!({"not": {"anyOf": choices.clone()}}));
            }
            conditions.push(json!({"oneOf": choices}));
        }
        if !conditions.is_empty() {
            object["allOf"] = Json::Array(conditions);
        }
        object
    }

    fn one(&mut self, one: &'static OneOf) -> Json {
        let properties = self.properties(one.choices);
        json!({
            "type": "object",
            "description": one.what,
            "properties": properties,
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        })
    }

    fn properties(&mut self, keys: &'static [Key]) -> Json {
        let mut properties = Object::new();
        for key in keys {
            let mut schema = self.shape(&key.shape);
            schema["description"] = json!(key.what);
            properties.insert(key.name.to_owned(), schema);
        }
        Json::Object(properties)
    }
}
