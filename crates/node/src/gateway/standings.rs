//! What is held against nodes, or for them, in `jobs.db`: it outlives a restart. Serves step III.

use manyhands_core::requester::Input;
use manyhands_core::{Ruling, Standing, Time, Verdict};
use manyhands_proto::NodeId;
use rusqlite::{Result, Row, params};

use super::jobs_db::JobsDb;
use super::shell::Shell;
use super::sqlite::unix_ms;
use crate::clock::Clock;

/// The table. Times are milliseconds since 1970: the rules' clock begins with the process.
pub(super) const TABLE: &str = "CREATE TABLE standings (
    node BLOB PRIMARY KEY, offences INTEGER NOT NULL, until_ms INTEGER, reason TEXT, verdict TEXT, word TEXT) STRICT";

impl JobsDb {
    /// Writes standings down, all or none. Beyond `rows_max` those whose blocks end first are let go; what the operator said is never.
    pub(super) fn set_standings(
        &mut self,
        clock: Clock,
        changed: &[(NodeId, Standing)],
        rows_max: usize,
    ) -> Result<()> {
        let transaction = self.0.transaction()?;
        for (node, standing) in changed {
            if *standing == Standing::default() {
                transaction.execute("DELETE FROM standings WHERE node = ?1", [node.0])?;
                continue;
            }
            transaction.execute(
                "INSERT OR REPLACE INTO standings (node, offences, until_ms, reason, verdict, word) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    node.0,
                    standing.offences,
                    standing.blocked_until.map(|until| on_the_calendar(clock, until)),
                    standing.blocked_for,
                    standing.ruling.as_ref().map(|ruling| word(ruling.verdict)),
                    standing.ruling.as_ref().map(|ruling| ruling.reason.as_str()),
                ],
            )?;
        }
        let surplus = "DELETE FROM standings WHERE node IN
            (SELECT node FROM standings WHERE verdict IS NULL ORDER BY until_ms DESC LIMIT -1 OFFSET ?1)";
        transaction.execute(surplus, [i64::try_from(rows_max).unwrap_or(i64::MAX)])?;
        transaction.commit()
    }

    /// All that is written down, but for what is forgiven: blocks that ended `forgive_ms` ago.
    fn standings(&self, clock: Clock, forgive_ms: u64) -> Result<Vec<(NodeId, Standing)>> {
        let oldest = unix_ms().saturating_sub_unsigned(forgive_ms);
        self.0.execute("DELETE FROM standings WHERE verdict IS NULL AND coalesce(until_ms, 0) < ?1", [oldest])?;
        let mut query = self.0.prepare("SELECT node, offences, until_ms, reason, verdict, word FROM standings")?;
        query.query_map([], |row| standing(clock, row))?.collect()
    }
}

impl Shell {
    /// Takes up what was held against nodes, or for them, when the gateway stopped.
    pub(super) fn recall(&mut self) -> Result<()> {
        let written = self.db.standings(self.clock, self.core.policy().forgive_ms)?;
        tracing::debug!(nodes = written.len(), "standings are taken up again");
        for (node, standing) in written {
            self.core.handle(self.clock.now(), Input::Recall { node, standing });
        }
        Ok(())
    }

    /// Writes down what has changed. A database that fails costs no job: the node is blocked until the next restart.
    pub(super) fn write_standings(&mut self, changed: &[(NodeId, Standing)]) {
        for (node, standing) in changed {
            let why = standing.blocked_for.as_deref().unwrap_or_default();
            let verdict = standing.ruling.as_ref().map(|ruling| word(ruling.verdict));
            tracing::warn!(%node, offences = standing.offences, why, verdict, "what is held against a node, or for it, has changed");
        }
        if let Err(error) = self.db.set_standings(self.clock, changed, self.core.policy().peers_max) {
            tracing::error!(%error, "what is held against nodes could not be written to jobs.db, and will be forgotten with the next restart");
        }
    }

    /// The operator says something of a node. It is on disk when this returns: the answer does not wait for the event, which writes the same again.
    pub(super) fn rule(&mut self, node: NodeId, ruling: Option<Ruling>) -> Result<()> {
        let standing = Standing { ruling: ruling.clone(), ..Standing::default() };
        self.db.set_standings(self.clock, &[(node, standing)], self.core.policy().peers_max)?;
        self.core.handle(self.clock.now(), Input::Rule { node, ruling });
        Ok(())
    }
}

fn standing(clock: Clock, row: &Row<'_>) -> Result<(NodeId, Standing)> {
    // A verdict of a later version is none that this one knows.
    let verdict = row
        .get::<_, Option<String>>(4)?
        .and_then(|text| [Verdict::Allowed, Verdict::Denied].into_iter().find(|verdict| word(*verdict) == text));
    let reason = row.get::<_, Option<String>>(5)?.unwrap_or_default();
    let standing = Standing {
        offences: row.get(1)?,
        blocked_until: row.get::<_, Option<i64>>(2)?.map(|at| on_the_clock(clock, at)),
        blocked_for: row.get(3)?,
        ruling: verdict.map(|verdict| Ruling { verdict, reason }),
    };
    Ok((NodeId(row.get(0)?), standing))
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allowed",
        Verdict::Denied => "denied",
    }
}

fn on_the_calendar(clock: Clock, at: Time) -> i64 {
    let now = clock.now();
    unix_ms().saturating_add_unsigned(at.since(now)).saturating_sub_unsigned(now.since(at))
}

/// What lies before the process's start is its start: it is over either way.
fn on_the_clock(clock: Clock, unix_at_ms: i64) -> Time {
    let (now, ahead_ms) = (clock.now(), unix_at_ms.saturating_sub(unix_ms()));
    if ahead_ms > 0 { now.after(ahead_ms.unsigned_abs()) } else { Time(now.0.saturating_sub(ahead_ms.unsigned_abs())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn blocked(clock: Clock, offences: u32, for_ms: u64) -> Standing {
        let blocked_until = Some(clock.now().after(for_ms));
        Standing { offences, blocked_until, blocked_for: Some("a forged proof".to_owned()), ruling: None }
    }

    fn ruled(verdict: Verdict) -> Standing {
        Standing { ruling: Some(Ruling { verdict, reason: "known".to_owned() }), ..Standing::default() }
    }

    #[test]
    fn standings_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        let clock = Clock::start();
        let written = [
            (NodeId([1; 32]), blocked(clock, 3, HOUR_MS)),
            (NodeId([2; 32]), ruled(Verdict::Denied)),
            (NodeId([3; 32]), ruled(Verdict::Allowed)),
        ];
        JobsDb::open(&path).unwrap().set_standings(clock, &written, 10).unwrap();
        let mut db = JobsDb::open(&path).unwrap();
        let mut read = db.standings(clock, HOUR_MS).unwrap();
        read.sort_by_key(|(node, _)| *node);
        // The two clocks are read one after the other.
        let left_ms = read[0].1.blocked_until.take().unwrap().since(clock.now());
        assert!(left_ms > HOUR_MS / 2 && left_ms <= HOUR_MS + 60_000, "{left_ms}");
        let expected = written.clone().map(|(node, standing)| (node, Standing { blocked_until: None, ..standing }));
        assert_eq!(read, expected);
        // What is taken back leaves nothing.
        db.set_standings(clock, &[(NodeId([2; 32]), Standing::default())], 10).unwrap();
        assert_eq!(db.standings(clock, HOUR_MS).unwrap().len(), 2);
    }

    #[test]
    fn what_is_long_over_is_forgotten_and_the_operators_word_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut db = JobsDb::open(&dir.path().join("jobs.db")).unwrap();
        let clock = Clock::start();
        let rows = [(NodeId([1; 32]), blocked(clock, 1, 0)), (NodeId([2; 32]), ruled(Verdict::Denied))];
        db.set_standings(clock, &rows, 10).unwrap();
        let set = |db: &JobsDb, ago_ms: i64| {
            let sql = "UPDATE standings SET until_ms = ?1 WHERE until_ms IS NOT NULL";
            db.0.execute(sql, [unix_ms() - ago_ms]).unwrap();
        };
        set(&db, 3_500_000);
        assert_eq!(db.standings(clock, HOUR_MS).unwrap().len(), 2);
        set(&db, 3_700_000);
        let left = db.standings(clock, HOUR_MS).unwrap();
        assert_eq!(left.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [NodeId([2; 32])]);
    }

    #[test]
    fn many_offenders_do_not_fill_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut db = JobsDb::open(&dir.path().join("jobs.db")).unwrap();
        let clock = Clock::start();
        let many: Vec<_> =
            (1..9).map(|number| (NodeId([number; 32]), blocked(clock, 1, u64::from(number) * HOUR_MS))).collect();
        db.set_standings(clock, &[(NodeId([99; 32]), ruled(Verdict::Denied))], 3).unwrap();
        db.set_standings(clock, &many, 3).unwrap();
        let mut left: Vec<u8> = db.standings(clock, HOUR_MS).unwrap().iter().map(|(node, _)| node.0[0]).collect();
        left.sort_unstable();
        assert_eq!(left, [6, 7, 8, 99]);
    }
}
