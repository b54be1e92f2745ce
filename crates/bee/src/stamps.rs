//! Which of the node's postage batches pays for a blob. Batches are never bought here: that is money.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::batch::{Batch, BatchId, Need, Rejected, best};
use crate::call::Call;
use crate::client::{ASK_TIME, Bee};
use crate::error::BeeError;
use crate::purchase::Purchase;

/// Batches of which it is said why each will not do.
const REJECTED_MAX: usize = 8;

impl Bee {
    /// The node's postage batches. What cannot be read as a batch is left out.
    ///
    /// # Errors
    /// [`BeeError`].
    pub async fn batches(&self) -> Result<Vec<Batch>, BeeError> {
        read_all(&self.ask(&self.run(Duration::ZERO), Call::Stamps, Method::GET, "stamps").await?)
    }

    /// A batch that can take a blob; waits for one that is not usable yet if no other will do.
    ///
    /// # Errors
    /// [`BeeError::NoBatch`], which says what to buy and how; other [`BeeError`]s.
    pub async fn choose_batch(&self, need: &Need) -> Result<Batch, BeeError> {
        let attempt = || async {
            let answer = self.send(Call::Stamps, self.request(Method::GET, "stamps")).await?;
            let batches = read_all(&self.json(Call::Stamps, answer).await?)?;
            let rejected = batches.iter().filter_map(|batch| Some((batch.id, batch.check(need).err()?)));
            let mut rejected: Vec<_> = rejected.collect();
            // Whoever only needs to be waited for comes first.
            rejected.sort_by_key(|(_, why)| *why != Rejected::NotUsable);
            rejected.truncate(REJECTED_MAX);
            let purchase = Box::new(Purchase::of(need, None, &self.address()));
            best(batches, need).ok_or(BeeError::NoBatch { rejected, purchase })
        };
        let chosen = self.persist(&self.run(Duration::ZERO), Call::Stamps, ASK_TIME, attempt).await;
        match chosen {
            // Only now does the price matter.
            Err(BeeError::NoBatch { rejected, .. }) => {
                let purchase = Box::new(Purchase::of(need, self.price_plur().await, &self.address()));
                Err(BeeError::NoBatch { rejected, purchase })
            }
            outcome => outcome,
        }
    }

    /// The batch `id`, if it can take a blob; waits for it if it is not usable yet.
    ///
    /// # Errors
    /// [`BeeError::BatchUnfit`]; other [`BeeError`]s.
    pub async fn check_batch(&self, id: BatchId, need: &Need) -> Result<Batch, BeeError> {
        let call = Call::Stamp;
        let attempt = || async {
            let answer = self.send(call, self.request(Method::GET, &format!("stamps/{id}"))).await?;
            let value = self.json(call, answer).await?;
            let unread = || BeeError::Garbled { call, why: "it is not the batch asked for".to_owned() };
            let batch = Batch::read(&value).filter(|batch| batch.id == id).ok_or_else(unread)?;
            batch.check(need).map_err(|why| BeeError::BatchUnfit { id, why })?;
            Ok(batch)
        };
        self.persist(&self.run(Duration::ZERO), call, ASK_TIME, attempt).await
    }
}

fn read_all(value: &Value) -> Result<Vec<Batch>, BeeError> {
    match value.get("stamps") {
        // A Go list that was never filled.
        Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(stamps)) => Ok(stamps.iter().filter_map(Batch::read).collect()),
        _ => Err(BeeError::Garbled { call: Call::Stamps, why: "it has no list of stamps".to_owned() }),
    }
}
