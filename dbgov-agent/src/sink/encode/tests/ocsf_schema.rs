//! A validator of OCSF events of class 6005, by the published schema (testdata/schemas).

use std::net::IpAddr;

use serde_json::{Map, Value};
use uuid::Uuid;

/// What the compiled schema (1.9.0-dev) has and release 1.8.0 has not, of all that an event could use.
const NEWER: [&str; 16] = [
    "ai_agent",
    "attestation_list",
    "bcc",
    "bcc_mailboxes",
    "cores",
    "cpu_info_list",
    "download_info",
    "encoding",
    "encoding_id",
    "hosted_ai_agent_list",
    "iam_role",
    "peripheral_devices",
    "prompt_text",
    "serialization",
    "serialization_id",
    "uid_numeric",
];

pub(super) struct Schema(Value);

impl Schema {
    pub(super) fn load() -> Self {
        let json = include_str!("../../../../testdata/schemas/ocsf-datastore_activity.json");
        Schema(serde_json::from_str(json).unwrap())
    }

    /// What is wrong with an event; nothing where it is valid.
    pub(super) fn errors(&self, event: &Value) -> Vec<String> {
        let mut check = Check {
            schema: &self.0,
            profiles: profiles(event),
            errors: Vec::new(),
        };
        for profile in &check.profiles.clone() {
            if !texts(&self.0["profiles"]).contains(profile) {
                check.errors.push(format!("no profile {profile}"));
            }
        }
        check.object("", &self.0["class"], event);
        if event["metadata"]["version"] != "1.8.0" {
            check
                .errors
                .push("metadata.version is not 1.8.0".to_owned());
        }
        let activity = event["activity_id"].as_u64().unwrap_or(0);
        if event["type_uid"].as_u64() != Some(600_500 + activity) {
            check
                .errors
                .push("type_uid is not of the activity".to_owned());
        }
        check.errors
    }
}

fn profiles(event: &Value) -> Vec<String> {
    texts(&event["metadata"]["profiles"])
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

struct Check<'a> {
    schema: &'a Value,
    profiles: Vec<String>,
    errors: Vec<String>,
}

impl Check<'_> {
    fn wrong(&mut self, path: &str, what: &str) {
        self.errors.push(format!("{path}: {what}"));
    }

    fn object(&mut self, path: &str, of: &Value, value: &Value) {
        let Some(members) = value.as_object() else {
            return self.wrong(path, "is no object");
        };
        let attributes = of["attributes"].as_object().unwrap();
        for (name, value) in members {
            let path = format!("{path}/{name}");
            match attributes.get(name) {
                _ if NEWER.contains(&name.as_str()) => self.wrong(&path, "is not in 1.8.0"),
                None => self.wrong(&path, "is no attribute"),
                Some(attribute) if !self.is_enabled(attribute) => {
                    self.wrong(&path, "is of a profile that is not named");
                }
                Some(attribute) => self.attribute(&path, attribute, value, members),
            }
        }
        for (name, attribute) in attributes {
            let required = attribute["requirement"] == "required" && self.is_enabled(attribute);
            if required && !members.contains_key(name) {
                self.wrong(path, &format!("has no {name}"));
            }
        }
        self.constraints(path, &of["constraints"], members);
    }

    /// A profile of an extension is named with it: `linux/linux_users`.
    fn is_enabled(&self, attribute: &Value) -> bool {
        attribute["profile"].as_str().is_none_or(|profile| {
            self.profiles
                .iter()
                .any(|enabled| enabled.rsplit('/').next() == profile.rsplit('/').next())
        })
    }

    fn constraints(&mut self, path: &str, constraints: &Value, members: &Map<String, Value>) {
        for (constraint, names) in constraints.as_object().into_iter().flatten() {
            let names = texts(names);
            let there = names
                .iter()
                .filter(|name| members.contains_key(*name))
                .count();
            let holds = match constraint.as_str() {
                "at_least_one" => there >= 1,
                "just_one" => there == 1,
                other => panic!("a constraint that is not known: {other}"),
            };
            if !holds {
                self.wrong(path, &format!("{constraint} of {names:?}"));
            }
        }
    }

    fn attribute(
        &mut self,
        path: &str,
        attribute: &Value,
        value: &Value,
        beside: &Map<String, Value>,
    ) {
        if attribute["is_array"] != true {
            return self.value(path, attribute, value, beside);
        }
        match value.as_array() {
            Some(items) => items
                .iter()
                .for_each(|item| self.value(path, attribute, item, beside)),
            None => self.wrong(path, "is no array"),
        }
    }

    fn value(&mut self, path: &str, attribute: &Value, value: &Value, beside: &Map<String, Value>) {
        let type_name = attribute["type"].as_str().unwrap();
        if let Some(object) = self.schema["objects"].get(type_name) {
            // `object` itself is any.
            if type_name == "object" {
                return match value.is_object() {
                    true => {}
                    false => self.wrong(path, "is no object"),
                };
            }
            return self.object(path, &object.clone(), value);
        }
        if !is_of_type(type_name, value) {
            self.wrong(path, &format!("is no {type_name}: {value}"));
        }
        if let Some(allowed) = attribute["enum"].as_object() {
            let key = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            match allowed.get(&key) {
                Some(caption) => self.sibling(path, attribute, &key, caption, beside),
                None => self.wrong(path, &format!("{key} is no value of it")),
            }
        }
    }

    /// The text beside a number: the number's caption, or of `Other` (99) the source's own.
    fn sibling(
        &mut self,
        path: &str,
        attribute: &Value,
        key: &str,
        caption: &Value,
        beside: &Map<String, Value>,
    ) {
        let Some(sibling) = attribute["sibling"].as_str() else {
            return;
        };
        match beside.get(sibling) {
            None if key == "99" => {
                self.wrong(path, &format!("is Other, and there is no {sibling}"))
            }
            Some(text) if key != "99" && text != caption => {
                self.wrong(path, &format!("is {caption}, and {sibling} is {text}"));
            }
            _ => {}
        }
    }
}

fn is_of_type(type_name: &str, value: &Value) -> bool {
    let text = value.as_str();
    match type_name {
        "integer_t" | "long_t" | "timestamp_t" => value.is_i64() || value.is_u64(),
        "port_t" => value.as_u64().is_some_and(|port| port <= 65535),
        "boolean_t" => value.is_boolean(),
        "float_t" => value.is_number(),
        "json_t" => true,
        "string_t" => text.is_some(),
        "hostname_t" | "username_t" | "file_name_t" | "file_path_t" | "process_name_t"
        | "resource_uid_t" | "file_hash_t" | "url_t" => text.is_some_and(|text| !text.is_empty()),
        "ip_t" => text.is_some_and(|text| text.len() <= 40 && text.parse::<IpAddr>().is_ok()),
        "uuid_t" => text.is_some_and(|text| text.len() == 36 && text.parse::<Uuid>().is_ok()),
        other => panic!("a type that is not known: {other}"),
    }
}
