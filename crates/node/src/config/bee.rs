//! The configuration of the user's own Bee node. Its token is no part of it: a configuration is shown and copied.

use serde::{Deserialize, Serialize};

pub use manyhands_bee::{BatchId, Mode as StorageMode};

/// The environment variable with the token of a gateway in front of the Bee node, if there is one.
pub const BEE_TOKEN: &str = "MANYHANDS_BEE_TOKEN";

/// The Bee node's part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BeeConfig {
    /// Where blobs are kept: `peer-first`, `bee-only` or `embedded`; absent means peer-first if a Bee node is named or found on this machine
    /// at the start, else embedded.
    #[serde(with = "word", skip_serializing_if = "Option::is_none")]
    pub mode: Option<StorageMode>,
    /// The Bee node's address; absent means `http://127.0.0.1:1633`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The postage batch that pays for uploads; absent means that one is chosen of those that the Bee node has.
    #[serde(with = "word", skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
}

/// Values that are written as the words that people write them with.
mod word {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(T::to_string).serialize(to)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn words_are_read_back_and_others_are_named() {
        let mut config = Config { data_dir: "/data".into(), ..Config::default() };
        assert!(!config.to_toml().contains("mode"), "what is left open is not written");
        config.bee = BeeConfig {
            mode: Some(StorageMode::BeeOnly),
            url: Some("http://bee:1633".to_owned()),
            batch: Some(BatchId([7; 32])),
        };
        let text = config.to_toml();
        assert!(text.contains("mode = \"bee-only\"") && text.contains(&"07".repeat(32)), "{text}");
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        let error = toml::from_str::<Config>("[bee]\nmode = \"swarm\"").unwrap_err().to_string();
        assert!(error.contains("peer-first, bee-only or embedded"), "{error}");
        let error = toml::from_str::<Config>("[bee]\nbatch = \"7\"").unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits"), "{error}");
        let error = toml::from_str::<Config>("[bee]\ntoken = \"secret\"").unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{error}");
    }
}
