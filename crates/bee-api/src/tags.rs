//! Tags: how far an upload is. Here it is there at once, so a tag is full as soon as its upload is answered. They are
//! kept in memory, the newest ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
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
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
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
            started_at: rfc_3339(now),
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

/// A moment after 1970 as RFC 3339 has it, in UTC. The days are counted with the civil calendar's arithmetic.
fn rfc_3339(since_1970: Duration) -> String {
    let (days, seconds) = (since_1970.as_secs() / 86_400, since_1970.as_secs() % 86_400);
    // Years that begin in March have their leap day at the end: 146,097 days in four centuries (H. Hinnant, days_from_civil).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn moments_are_written_as_others_write_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc_3339(Duration::from_secs(seconds)), text);
        }
    }

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
