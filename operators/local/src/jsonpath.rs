//! The part of JSONPath that printer columns use: `.a.b`, `['a.b']`, `[0]`, `[*]`,
//! `[?(@.type=="Ready")]`.

use serde_json::Value as Json;

/// Everything the path leads to; nothing where it leads nowhere or is beyond this subset.
pub fn find<'a>(object: &'a Json, path: &str) -> Vec<&'a Json> {
    let Some(steps) = parse(path) else { return Vec::new() };
    let mut found = vec![object];
    for step in steps {
        found = found.into_iter().flat_map(|value| step.apply(value)).collect();
    }
    found
}

enum Step {
    Key(String),
    Index(usize),
    All,
    Where { path: Vec<String>, equals: String },
}

impl Step {
    fn apply<'a>(&self, value: &'a Json) -> Vec<&'a Json> {
        match self {
            Self::Key(key) => value.get(key).into_iter().collect(),
            Self::Index(index) => value.get(index).into_iter().collect(),
            Self::All => match value {
                Json::Array(items) => items.iter().collect(),
                Json::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            },
            Self::Where { path, equals } => {
                let matches = |item: &&Json| {
                    let end = path.iter().try_fold(*item, |value, key| value.get(key));
                    end.is_some_and(|end| text(end) == *equals)
                };
                value.as_array().into_iter().flatten().filter(matches).collect()
            }
        }
    }
}

/// A value as a cell of a list shows it.
pub fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let path = path.strip_prefix('$').unwrap_or(path);
    let mut rest = path.strip_prefix('{').and_then(|p| p.strip_suffix('}')).unwrap_or(path);
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let end = closing(inside)?;
            steps.push(bracket(&inside[..end])?);
            rest = &inside[end + 1..];
        } else {
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            match &name[..end] {
                "" => return None,
                "*" => steps.push(Step::All),
                key => steps.push(Step::Key(key.to_owned())),
            }
            rest = &name[end..];
        }
    }
    Some(steps)
}

/// Where the bracket closes, not counting what is in quotes.
fn closing(inside: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in inside.char_indices() {
        match (quote, c) {
            (None, ']') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    if let Some(condition) = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')')) {
        let (path, value) = condition.split_once("==")?;
        let path = path.trim().strip_prefix("@.")?;
        let path = path.split('.').map(str::to_owned).collect();
        return Some(Step::Where { path, equals: unquoted(value.trim()).to_owned() });
    }
    if text == "*" {
        return Some(Step::All);
    }
    match text.parse() {
        Ok(index) => Some(Step::Index(index)),
        Err(_) => Some(Step::Key(unquoted(text).to_owned())),
    }
}

fn unquoted(text: &str) -> &str {
    text.trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_paths_of_printer_columns_are_followed() {
        let object = json!({
            "metadata": {"labels": {"a.b/c": "x"}},
            "status": {
                "conditions": [
                    {"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "False"}],
                "endpoints": [{"address": "127.0.0.1:1"}],
                "shards": 4}});
        let shown = |path: &str| {
            let all: Vec<String> = find(&object, path).into_iter().map(text).collect();
            all.join(",")
        };
        assert_eq!(shown(".status.conditions[?(@.type==\"Ready\")].status"), "True");
        assert_eq!(shown(".status.endpoints[0].address"), "127.0.0.1:1");
        assert_eq!(shown(".status.conditions[*].type"), "Ready,Stalled");
        assert_eq!(shown("{.status.shards}"), "4");
        assert_eq!(shown(".metadata.labels['a.b/c']"), "x");
        assert_eq!(shown(".status.nothing.here"), "");
        assert_eq!(shown(".status[?(@.type"), "");
    }
}
