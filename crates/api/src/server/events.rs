//! A job as it goes on, as server-sent events: `status` with what `GET /v1/jobs/ID` would answer whenever that has changed, then `end` with
//! the same, or `problem`; after these two the stream ends, and a client that would come back by itself should close it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse as _;
use axum::response::sse::{Event, Sse};
use futures::stream;
use manyhands_proto::JobId;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::Gateway;
use super::respond::Answer;
use crate::types::JobStatus;

/// How often the job is looked at: as often as a person wants news of work that takes minutes.
const LOOK: Duration = Duration::from_secs(1);

/// Longest silence: times and predictions alone change no more than that often what is sent, which for a large job is megabytes.
const SILENCE: Duration = Duration::from_secs(10);

struct Watch<G> {
    gateway: Arc<G>,
    job: JobId,
    /// What was sent last, without its times, and when.
    last: Option<(JobStatus, Instant)>,
    is_over: bool,
    /// Held for as long as the stream lives.
    _place: OwnedSemaphorePermit,
}

/// The events of a job.
pub(super) fn of_job<G: Gateway>(gateway: Arc<G>, job: JobId, place: OwnedSemaphorePermit) -> Answer {
    let watch = Watch { gateway, job, last: None, is_over: false, _place: place };
    let events = stream::unfold(watch, |mut watch| async {
        let event = watch.next().await?;
        Some((Ok::<_, Infallible>(event), watch))
    });
    Sse::new(events).into_response()
}

impl<G: Gateway> Watch<G> {
    async fn next(&mut self) -> Option<Event> {
        while !self.is_over {
            if self.last.is_some() {
                sleep(LOOK).await;
            }
            if let Some(event) = self.look().await {
                return Some(event);
            }
        }
        None
    }

    async fn look(&mut self) -> Option<Event> {
        let status = match self.gateway.job(self.job).await {
            Ok(status) => status,
            Err(problem) => {
                self.is_over = true;
                return Some(event("problem", &problem));
            }
        };
        self.is_over = matches!(status.view.phase.as_str(), "done" | "failed");
        let (still, now) = (without_times(&status), Instant::now());
        let is_news = self.last.as_ref().is_none_or(|(last, at)| *last != still || now - *at >= SILENCE);
        if !is_news && !self.is_over {
            return None;
        }
        self.last = Some((still, now));
        Some(event(if self.is_over { "end" } else { "status" }, &status))
    }
}

/// What of a job changes only when something happens.
fn without_times(status: &JobStatus) -> JobStatus {
    let mut still = status.clone();
    still.view.elapsed_ms = 0;
    still.view.eta_ms = None;
    still.view.leases.iter_mut().for_each(|lease| lease.elapsed_ms = 0);
    still
}

fn event(name: &str, value: &impl Serialize) -> Event {
    // Of plain data, whose writing as JSON does not fail.
    Event::default().event(name).json_data(value).unwrap_or_default()
}
