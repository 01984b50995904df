//! Saying who one is: PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677).
//!
//! Must not: send a password but in PLAIN, or show it.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac, pbkdf2};

use orrery_kit::secrets::Secret;

/// How a user proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    /// The word of `sasl.mechanism`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    /// The mechanism of that word.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Plain, Self::ScramSha256, Self::ScramSha512]
            .into_iter()
            .find(|mechanism| mechanism.as_str() == name)
    }
}

/// Who speaks to the brokers.
#[derive(Clone, Debug)]
pub struct User {
    pub mechanism: Mechanism,
    pub name: String,
    pub password: Secret,
}

/// Most rounds of hashing that a broker may ask for, so that a false one cannot keep us busy.
const ROUNDS_MAX: u32 = 1_000_000;

/// The message of PLAIN.
pub(crate) fn plain(user: &User) -> Vec<u8> {
    format!("\0{}\0{}", user.name, user.password.reveal()).into_bytes()
}

/// The conversation of SCRAM. Errors say what the broker did wrong.
pub(crate) struct Scram {
    hash: hmac::Algorithm,
    key: pbkdf2::Algorithm,
    digest: &'static digest::Algorithm,
    nonce: String,
    first_bare: String,
    expected: Vec<u8>,
}

impl Scram {
    /// `None` if the mechanism is another.
    pub(crate) fn begin(user: &User) -> Option<Self> {
        let mut random = [0; 24];
        SystemRandom::new().fill(&mut random).ok()?;
        Self::with_nonce(user, STANDARD.encode(random))
    }

    fn with_nonce(user: &User, nonce: String) -> Option<Self> {
        let (hash, key, digest) = match user.mechanism {
            Mechanism::Plain => return None,
            Mechanism::ScramSha256 => {
                (hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256, &digest::SHA256)
            }
            Mechanism::ScramSha512 => {
                (hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512, &digest::SHA512)
            }
        };
        let name = user.name.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={name},r={nonce}");
        Some(Self { hash, key, digest, nonce, first_bare, expected: vec![] })
    }

    pub(crate) fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.first_bare).into_bytes()
    }

    /// The answer to the broker's first message.
    pub(crate) fn answer(&mut self, user: &User, said: &[u8]) -> Result<Vec<u8>, &'static str> {
        let said = std::str::from_utf8(said).map_err(|_| "its message is no text")?;
        let field = |name: &str| said.split(',').find_map(|part| part.strip_prefix(name));
        let nonce = field("r=").ok_or("it sent no nonce")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("it answered to another nonce");
        }
        let salt =
            field("s=").and_then(|text| STANDARD.decode(text).ok()).ok_or("it sent no salt")?;
        let rounds = field("i=").and_then(|text| text.parse().ok()).and_then(NonZeroU32::new);
        let rounds = rounds.filter(|rounds| rounds.get() <= ROUNDS_MAX);
        let rounds = rounds.ok_or("it wants no or too many rounds of hashing")?;

        let mut salted = vec![0; self.digest.output_len()];
        pbkdf2::derive(self.key, rounds, &salt, user.password.reveal().as_bytes(), &mut salted);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(self.hash, key), text);
        let client_key = sign(&salted, b"Client Key");
        let stored = digest::digest(self.digest, client_key.as_ref());
        let closing = format!("c=biws,r={nonce}");
        let all = format!("{},{said},{closing}", self.first_bare);
        let signature = sign(stored.as_ref(), all.as_bytes());
        let proof: Vec<u8> = client_key
            .as_ref()
            .iter()
            .zip(signature.as_ref())
            .map(|(one, other)| one ^ other)
            .collect();
        let server_key = sign(&salted, b"Server Key");
        self.expected = sign(server_key.as_ref(), all.as_bytes()).as_ref().to_vec();
        Ok(format!("{closing},p={}", STANDARD.encode(proof)).into_bytes())
    }

    /// Whether the broker knows the password as well.
    pub(crate) fn is_proven(&self, said: &[u8]) -> bool {
        let said = std::str::from_utf8(said).unwrap_or_default();
        let proof = said.split(',').find_map(|part| part.strip_prefix("v="));
        let proof = proof.and_then(|text| STANDARD.decode(text).ok());
        !self.expected.is_empty() && proof.is_some_and(|proof| proof == self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_standard_is_answered() {
        let user = User {
            mechanism: Mechanism::ScramSha256,
            name: "user".to_owned(),
            password: Secret::new("pencil"),
        };
        let mut scram = Scram::with_nonce(&user, "rOprNGfwEbeRWgbNEkqO".to_owned()).expect("SCRAM");
        assert_eq!(scram.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let said = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let answer = scram.answer(&user, said.as_bytes()).expect("it is well formed");
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(String::from_utf8_lossy(&answer), expected);
        assert!(scram.is_proven(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert!(!scram.is_proven(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="));
        let stranger = said.replace("r=rO", "r=x");
        assert!(scram.answer(&user, stranger.as_bytes()).is_err());
        assert!(scram.answer(&user, said.replace("4096", "4000000000").as_bytes()).is_err());
    }
}
