//! When a certificate ends, read from its DER bytes (RFC 5280, section 4.1).
//!
//! Must not: judge the certificate; that is the TLS library's work. It only walks to the one field
//! that library does not tell.

const SEQUENCE: u8 = 0x30;
/// `[0] version`, which certificates of version 1 leave out.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// End of the validity in seconds since 1970; `None` when these bytes are no certificate.
pub(super) fn end_s(der: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(der)?;
    let (_, body, _) = element(certificate)?;
    let (tag, _, after_version) = element(body)?;
    let mut rest = if tag == VERSION { after_version } else { body };
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    let (tag, validity, _) = element(rest)?;
    if tag != SEQUENCE {
        return None;
    }
    let (_, _, after_begin) = element(validity)?;
    let (tag, end, _) = element(after_begin)?;
    time_s(tag, end)
}

/// Tag, content and what follows of the element in front.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut len = usize::from(*first);
    if len >= 0x80 {
        let digits = len & 0x7f;
        if !(1..=4).contains(&digits) {
            return None;
        }
        let (number, after) = rest.split_at_checked(digits)?;
        len = number.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(len)?;
    Some((*tag, content, after))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, the only forms certificates may have.
fn time_s(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, text.len()) {
        (UTC_TIME, 12) => {
            let year: i64 = text[..2].parse().ok()?;
            (if year >= 50 { 1900 + year } else { 2000 + year }, &text[2..])
        }
        (GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let part = |index: usize| rest[2 * index..2 * index + 2].parse::<i64>().ok();
    let days = days_since_1970(year, part(0)?, part(1)?);
    Some(((days * 24 + part(2)?) * 60 + part(3)?) * 60 + part(4)?)
}

/// Days of the Gregorian calendar; years are counted from March, so that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_time_are_read() {
        assert_eq!(time_s(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(time_s(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(time_s(GENERALIZED_TIME, b"20240229120001Z"), Some(1_709_208_001));
        assert_eq!(time_s(GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000));
        for wrong in [&b"20240229120001"[..], b"2024022912000Z", b"+0240229120001Z", b"", b"Z"] {
            assert_eq!(time_s(GENERALIZED_TIME, wrong), None);
        }
    }

    #[test]
    fn every_truncation_is_refused_and_none_panics() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::new(vec!["kv".to_owned()]).expect("a name");
        parameters.not_after = rcgen::date_time_ymd(2031, 5, 17);
        let certificate = parameters.self_signed(&key).expect("it is signed");
        let der = certificate.der();
        assert_eq!(end_s(der), Some(1_936_742_400));
        for len in 0..der.len() {
            assert_eq!(end_s(&der[..len]), None, "{len}");
        }
    }
}
