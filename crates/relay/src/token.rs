//! Tokens: which are accepted, and which users they name.
//!
//! The two dialects differ in how they read `Authorization`, and both are kept as recorded.

use std::sync::Arc;

use crate::Config;

/// The namespace of a token's users: its letters, digits and underscores, the first 24 of them.
pub(crate) type Namespace = Arc<str>;

/// HTTP: the scheme must be `Bearer`, spelled so.
pub(crate) fn of_http(config: &Config, authorization: Option<&[u8]>) -> Option<Namespace> {
    accepted(config, authorization?.strip_prefix(b"Bearer ")?)
}

/// WebSocket: the scheme may be missing, and in any case of letters.
pub(crate) fn of_websocket(config: &Config, authorization: Option<&[u8]>) -> Option<Namespace> {
    let value = authorization?.trim_ascii();
    let token = match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => value,
    };
    accepted(config, token)
}

fn accepted(config: &Config, token: &[u8]) -> Option<Namespace> {
    if !config.token_prefixes.iter().any(|prefix| token.starts_with(prefix.as_bytes())) {
        return None;
    }
    let word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    Some(
        token.iter().filter(word).take(24).map(|byte| char::from(*byte)).collect::<String>().into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_reads_the_header_its_own_way() {
        let config = Config::default();
        for (header, http, websocket) in [
            ("Bearer stvor_x", true, true),
            ("bearer stvor_x", false, true),
            ("stvor_x", false, true),
            ("Bearer sk_live_x", false, false),
            ("", false, false),
        ] {
            let header = Some(header.as_bytes());
            assert_eq!(of_http(&config, header).is_some(), http, "{header:?} over HTTP");
            assert_eq!(of_websocket(&config, header).is_some(), websocket, "{header:?} over WS");
        }
    }

    #[test]
    fn only_the_first_24_word_characters_name_the_namespace() {
        let config = Config::default();
        let of = |token: &str| of_http(&config, Some(format!("Bearer {token}").as_bytes()));
        assert_eq!(of("stvor_dev_test123!!"), of("stvor_dev_test123"));
        assert_eq!(of("stvor_aaaaaaaaaaaaaaaaaa1"), of("stvor_aaaaaaaaaaaaaaaaaa2"));
        assert_ne!(of("stvor_a"), of("stvor_b"));
    }

    #[test]
    fn an_empty_prefix_accepts_any_token() {
        let config = Config { token_prefixes: vec![String::new()], ..Config::default() };
        assert_eq!(of_http(&config, Some(b"Bearer sk_live_x")).as_deref(), Some("sk_live_x"));
        assert_eq!(of_http(&config, None), None, "no header at all is no token");
    }
}
