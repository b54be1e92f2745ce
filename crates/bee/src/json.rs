//! Bee's JSON answers, read leniently: what is not known is passed over, what is missing or of another kind is `None`,
//! and numbers may stand in quotes, as Bee's large ones do.

use manyhands_proto::Reference;
use serde_json::Value;

pub(crate) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

pub(crate) fn boolean(value: &Value, field: &str) -> Option<bool> {
    value.get(field)?.as_bool()
}

/// A number that is not negative.
pub(crate) fn number(value: &Value, field: &str) -> Option<u128> {
    match value.get(field)? {
        Value::Number(number) => number.as_u64().map(u128::from),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

pub(crate) fn small<T: TryFrom<u128>>(value: &Value, field: &str) -> Option<T> {
    T::try_from(number(value, field)?).ok()
}

pub(crate) fn reference(value: &Value, field: &str) -> Option<Reference> {
    text(value, field)?.parse().ok()
}

/// A stranger's words, fit for a log line: no control letters, at most `letters_max`.
pub(crate) fn tame(text: &str, letters_max: usize) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(letters_max).collect()
}
