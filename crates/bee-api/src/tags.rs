//! Tags: how far an upload is. Here it is there at once, so a tag is full as soon as its upload is answered. They are
//! kept in memory, the newest ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use jiff::Timestamp;
use manyhands_proto::Reference;
use serde::{Deserialize, Serialize};

use crate::headers::{Path, Query};
use crate::hive::Hive;
use crate::refusal::{Refusal, json, plain};

/// Tags remembered; beyond it the oldest go.
const TAGS_MAX: usize = 10_000;
/// Tags listed at once, unless the request says fewer.
const LIST_MAX: usize = 1_000;

/// One tag, as Bee writes it. Numbers are of chunks.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tag {
    split: u64,
    seen: u64,
    stored: u64,
    sent: u64,
    synced: u64,
    uid: u64,
    address: String,
    #[serde(rename = "startedAt")]
    started_at: String,
}

impl Tag {
    /// Its number.
    pub(crate) fn uid(&self) -> u64 {
        self.uid
    }
}

/// The tags of a store.
#[derive(Debug, Default)]
pub(crate) struct Tags(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    tags: BTreeMap<u64, Tag>,
    /// The newest tag's number, whether or not the tag is still there.
    last: u64,
}

impl Tags {
    /// Makes a tag.
    pub(crate) fn create(&self) -> Tag {
        let at = SystemTime::now();
        let now = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut known = self.lock();
        // Numbers go on from the clock, so that one of before a restart is not taken for another's. In microseconds no burst of requests runs
        // ahead of it, and until 2255 the number is one that JavaScript can tell from the next.
        let uid = u64::try_from(now.as_micros()).unwrap_or_default().max(known.last + 1);
        known.last = uid;
        let tag = Tag {
            split: 0,
            seen: 0,
            stored: 0,
            sent: 0,
            synced: 0,
            uid,
            address: String::new(),
            started_at: format!("{:.0}", Timestamp::try_from(at).unwrap_or(Timestamp::MAX)),
        };
        known.tags.insert(uid, tag.clone());
        if known.tags.len() > TAGS_MAX {
            known.tags.pop_first();
        }
        tag
    }

    pub(crate) fn get(&self, uid: u64) -> Option<Tag> {
        self.lock().tags.get(&uid).cloned()
    }

    /// Counts chunks that are stored.
    pub(crate) fn add(&self, uid: u64, chunks: u64, root: Option<Reference>) {
        if let Some(tag) = self.lock().tags.get_mut(&uid) {
            for count in [&mut tag.split, &mut tag.stored, &mut tag.sent, &mut tag.synced] {
                *count = count.saturating_add(chunks);
            }
            if let Some(root) = root {
                tag.address = root.to_string();
            }
        }
    }

    /// Each change leaves the tags valid, so they are after any panic.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Answer = Result<Response<Body>, Refusal>;

/// `POST /tags`.
pub(crate) async fn create(State(hive): State<Arc<Hive>>) -> Answer {
    Ok(json(StatusCode::CREATED, &hive.tags.create()))
}

/// `GET /tags/{uid}`.
pub(crate) async fn get(State(hive): State<Arc<Hive>>, Path(uid): Path<String>) -> Answer {
    let tag = hive.tags.get(number(&uid)?).ok_or_else(not_present)?;
    Ok(json(StatusCode::OK, &tag))
}

/// `DELETE /tags/{uid}`.
pub(crate) async fn delete(State(hive): State<Arc<Hive>>, Path(uid): Path<String>) -> Answer {
    hive.tags.lock().tags.remove(&number(&uid)?).ok_or_else(not_present)?;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

/// `PATCH /tags/{uid}`: the upload's root is known. Here it is anyway.
pub(crate) async fn done(State(hive): State<Arc<Hive>>, Path(uid): Path<String>) -> Answer {
    hive.tags.get(number(&uid)?).ok_or_else(not_present)?;
    Ok(plain(StatusCode::OK))
}

/// Which part of the list is wanted.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

/// `GET /tags`.
pub(crate) async fn list(State(hive): State<Arc<Hive>>, Query(page): Query<Page>) -> Answer {
    #[derive(Serialize)]
    struct List {
        tags: Vec<Tag>,
    }
    let limit = page.limit.unwrap_or(100).min(LIST_MAX);
    let tags = hive.tags.lock().tags.values().skip(page.offset).take(limit).cloned().collect();
    Ok(json(StatusCode::OK, &List { tags }))
}

fn number(uid: &str) -> Result<u64, Refusal> {
    uid.parse().map_err(|_| Refusal::parameter("path", "id", "invalid syntax"))
}

fn not_present() -> Refusal {
    Refusal::not_found("tag not present")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_number_is_given_twice() {
        let tags = Tags::default();
        let mut last = 0;
        for _ in 0..1000 {
            let uid = tags.create().uid;
            assert!(uid > last && uid < 1 << 53, "{uid}");
            // A tag that is gone does not give its number back.
            tags.lock().tags.clear();
            last = uid;
        }
    }

    #[test]
    fn a_tag_is_full_when_its_chunks_are_stored_and_old_ones_go() {
        let tags = Tags::default();
        let first = tags.create();
        tags.add(first.uid, 3, Some(Reference([0xab; 32])));
        let full = tags.get(first.uid).unwrap();
        assert_eq!((full.split, full.synced, full.address), (3, 3, "ab".repeat(32)));
        for _ in 0..TAGS_MAX {
            tags.create();
        }
        assert!(tags.get(first.uid).is_none());
        tags.add(first.uid, 1, None);
        assert_eq!(tags.lock().tags.len(), TAGS_MAX);
    }
}
