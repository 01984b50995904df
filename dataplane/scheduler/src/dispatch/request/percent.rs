//! Texts as values of headers.

use http::HeaderValue;

/// The text itself where it is printable ASCII, otherwise with the rest as `%` and two digits.
/// Characters of `also` are encoded as well. A `%` is encoded, so that no two texts become one.
pub(super) fn encoded(text: &str, also: &str) -> HeaderValue {
    let is_plain = |byte: u8| {
        (byte.is_ascii_graphic() || byte == b' ')
            && byte != b'%'
            && !also.as_bytes().contains(&byte)
    };
    if text.bytes().all(is_plain)
        && text.trim().len() == text.len()
        && let Ok(value) = HeaderValue::from_str(text)
    {
        return value;
    }
    let mut plain = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if is_plain(byte) && byte != b' ' {
            plain.push(char::from(byte));
        } else {
            plain.push('%');
            for digit in [byte >> 4, byte & 15] {
                plain
                    .extend(char::from_digit(u32::from(digit), 16).map(|c| c.to_ascii_uppercase()));
            }
        }
    }
    HeaderValue::try_from(plain).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_texts_stay_and_others_are_encoded() {
        assert_eq!(encoded("billing/run 7", ""), "billing/run 7");
        assert_eq!(encoded("é\n%", ""), "%C3%A9%0A%25");
        assert_eq!(encoded("a.b c", "."), "a%2Eb%20c");
        assert_eq!(encoded(" a", ""), "%20a");
    }

    proptest! {
        #[test]
        fn no_text_is_lost(one in ".{0,40}", other in ".{0,40}") {
            prop_assert_eq!(one == other, encoded(&one, "") == encoded(&other, ""));
            prop_assert!(one.is_empty() || !encoded(&one, "").is_empty());
        }
    }
}
