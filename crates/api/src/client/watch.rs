//! A job as it goes on: the server-sent events of `GET /v1/jobs/ID/events`, read one by one.

use std::time::Duration;

use manyhands_proto::JobId;
use reqwest::{Method, Response};

use super::{Client, ClientError, JSON_BYTES_MAX};
use crate::types::{JobStatus, Problem};

/// How long a gateway may say nothing: it speaks every ten seconds while a job is open.
const SILENCE_TIME: Duration = Duration::from_secs(60);

/// How long a job may be watched at a stretch, in seconds: a month.
const WATCH_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// The news of a job, as long as it is kept.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    answer: Response,
    /// What has come and was not read yet.
    coming: Vec<u8>,
    is_over: bool,
}

impl Client {
    /// Watches a job: [`Watch::next`] gives its status now, then whenever it has changed, at most once a second, and last how it ended. A
    /// gateway lets 32 be watched at the same time. Nothing is asked again by itself: after an error watch it anew, as the job goes on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn watch(&self, job: JobId) -> Result<Watch, ClientError> {
        let asked = self.request(Method::GET, &format!("v1/jobs/{job}/events"), WATCH_TIME);
        let answer = self.send(asked).await?;
        Ok(Watch { client: self.clone(), answer, coming: Vec::new(), is_over: false })
    }
}

impl Watch {
    /// The next status; none after the last, whose phase is `done` or `failed`.
    ///
    /// # Errors
    /// [`ClientError::Problem`] if the job was forgotten meanwhile, [`ClientError::Unreachable`] or [`ClientError::Silent`] if the connection
    /// is of no use any more: the job itself goes on.
    pub async fn next(&mut self) -> Result<Option<JobStatus>, ClientError> {
        while !self.is_over {
            match self.event().await? {
                Some(event) => {
                    if let Some(status) = self.heard(&event)? {
                        return Ok(Some(status));
                    }
                }
                None => {
                    self.is_over = true;
                    return Err(ClientError::Silent { address: self.client.address().to_owned() });
                }
            }
        }
        Ok(None)
    }

    fn heard(&mut self, event: &Event) -> Result<Option<JobStatus>, ClientError> {
        let malformed = |source| ClientError::Malformed { what: "event", source };
        match event.name.as_str() {
            "status" => serde_json::from_str(&event.data).map(Some).map_err(malformed),
            "end" => {
                self.is_over = true;
                serde_json::from_str(&event.data).map(Some).map_err(malformed)
            }
            "problem" => {
                self.is_over = true;
                let problem: Problem = serde_json::from_str(&event.data).map_err(malformed)?;
                Err(problem.into())
            }
            // Of a later version.
            _ => Ok(None),
        }
    }

    /// The next event that has come whole; none if the stream has ended.
    async fn event(&mut self) -> Result<Option<Event>, ClientError> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = end_of_event(&self.coming, looked_at) {
                let rest = self.coming.split_off(end);
                let event = Event::of(&String::from_utf8_lossy(&self.coming));
                self.coming = rest;
                return Ok(Some(event));
            }
            // The blank line may have half come.
            looked_at = self.coming.len().saturating_sub(1);
            let piece = tokio::time::timeout(SILENCE_TIME, self.answer.chunk()).await;
            let silent = |_| ClientError::Silent { address: self.client.address().to_owned() };
            match piece.map_err(silent)?.map_err(|error| self.client.broken(error))? {
                Some(piece) if self.coming.len() as u64 + piece.len() as u64 > JSON_BYTES_MAX => {
                    return Err(ClientError::TooLarge { what: "event", limit_bytes: JSON_BYTES_MAX });
                }
                Some(piece) => self.coming.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

/// Where the event ends that begins the bytes: after its blank line. None of its lines end before `from`. Our gateways end lines with a line
/// feed alone.
fn end_of_event(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(2).position(|pair| pair == b"\n\n").map(|at| from + at + 2)
}

/// A server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    name: String,
    data: String,
}

impl Event {
    fn of(text: &str) -> Self {
        let mut event = Self::default();
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "data" if event.data.is_empty() => value.clone_into(&mut event.data),
                "data" => event.data = format!("{}\n{value}", event.data),
                // Comments, and fields for browsers.
                _ => {}
            }
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_they_are_written() {
        let text = b"event: status\ndata: {\"a\":1}\n\nevent:end\ndata:x\ndata: y\n: a comment\nid: 7\n\n";
        let end = end_of_event(text, 0).unwrap();
        let event = |name: &str, data: &str| Event { name: name.to_owned(), data: data.to_owned() };
        let of = |bytes: &[u8]| Event::of(std::str::from_utf8(bytes).unwrap());
        assert_eq!(of(&text[..end]), event("status", "{\"a\":1}"));
        assert_eq!(end_of_event(text, end), Some(text.len()));
        assert_eq!(of(&text[end..]), event("end", "x\ny"));
        assert_eq!(end_of_event(&text[..end - 1], 0), None, "its blank line is still to come");
        assert_eq!(end_of_event(&text[..end], end - 2), Some(end), "one that came in two pieces");
        assert_eq!(end_of_event(b"", 0), None);
        assert_eq!(of(b"\n\n"), Event::default());
    }
}
