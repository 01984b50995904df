//! `$(NAME)` in words of a command, as a kubelet replaces it.

use orrery_api::scheduler::EnvVar;

/// A word with the variables that are known in it. `$$` is a dollar, and an unknown name stays as it is.
pub(super) fn expanded(word: &str, env: &[EnvVar]) -> String {
    let (mut text, mut rest) = (String::with_capacity(word.len()), word);
    while let Some((before, behind)) = rest.split_once('$') {
        text.push_str(before);
        let reference = behind.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        if let Some(behind) = behind.strip_prefix('$') {
            text.push('$');
            rest = behind;
        } else if let Some((name, behind)) = reference {
            let known = env.iter().find(|variable| variable.name == name);
            match known.map(|variable| variable.value.as_str()) {
                Some(value) => text.push_str(value),
                None => text.extend(["$(", name, ")"]),
            }
            rest = behind;
        } else {
            text.push('$');
            rest = behind;
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_a_kubelet_does() {
        let env = [EnvVar { name: "A".to_owned(), value: "x".to_owned() }];
        for (word, expected) in [
            ("plain", "plain"),
            ("$(A)/$(A)", "x/x"),
            ("$(B) $A", "$(B) $A"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$x"),
            ("echo $$", "echo $"),
            ("$(A", "$(A"),
            ("end$", "end$"),
        ] {
            assert_eq!(expanded(word, &env), expected, "{word}");
        }
    }
}
