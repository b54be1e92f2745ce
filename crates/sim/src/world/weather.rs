//! How machines come and go: starts, churn, flapping, and losses of many at once.

use manyhands_core::{Prover, prover};

use super::{Happening, World};
use crate::draw::{About, Draw};
use crate::fleet::{Role, node_id};

impl World<'_> {
    /// A machine starts, knowing nothing but its configuration.
    pub(super) fn birth(&mut self, node: u32) -> Result<(), String> {
        let (Some(machine), Some(traits)) = (self.nodes.get_mut(node as usize), self.fleet.get(node as usize)) else {
            return Ok(());
        };
        if machine.is_lost || machine.is_up {
            return Ok(());
        }
        (machine.core, machine.is_up) = (Prover::new(node_id(node), traits.capabilities()), true);
        machine.noticed = self.notices;
        self.log.line(self.now_ms, node, 6).number(u64::from(machine.life));
        self.plan_leaving(node);
        if self.scenario.gateways.configured {
            for number in 0..self.gateways.len() {
                let Some(holder) = self.gateways.get(number).map(|gateway| gateway.holder.clone()) else { continue };
                self.tell_node(node, prover::Input::Gateway { holder, configured: true }, None)?;
            }
            return Ok(());
        }
        // Nobody configured a gateway: it waits for a notice.
        if let Some(machine) = self.nodes.get_mut(node as usize) {
            machine.is_idle = true;
            self.idle.insert(node);
        }
        Ok(())
    }

    /// Decides when this life of a machine ends, if it does.
    fn plan_leaving(&mut self, node: u32) {
        let (Some(machine), Some(traits)) = (self.nodes.get(node as usize), self.fleet.get(node as usize)) else {
            return;
        };
        let (life, villains) = (machine.life, &self.scenario.villains);
        let (up_ms, down_ms, noticed_share) = match (&self.scenario.churn, traits.role) {
            (_, Role::Flapper) => (villains.flapper_up_ms, Some(villains.flapper_down_ms), 0.5),
            (Some(churn), _) => (churn.lifetime_ms, churn.downtime_ms, churn.noticed_share),
            (None, _) => return,
        };
        let draw = &mut Draw::new(self.seed, About::Churn, &[u64::from(node), u64::from(life)]);
        let stay_ms = draw.exponential(up_ms as f64) as u64;
        let away_ms = draw.exponential(down_ms.unwrap_or(0) as f64) as u64;
        let is_noticed = draw.happens(noticed_share);
        let leaves_ms = self.now_ms.saturating_add(stay_ms.max(1));
        if self.scenario.faults_end_ms.is_none_or(|end_ms| leaves_ms < end_ms) {
            let back_ms = down_ms.map(|_| away_ms.max(1));
            self.queue.push(leaves_ms, Happening::Leave { node, life, back_ms, is_noticed });
        }
    }

    /// A machine goes in the middle of what it does.
    pub(super) fn leave(&mut self, node: u32, life: u32, back_ms: Option<u64>, is_noticed: bool) -> Result<(), String> {
        let Some(machine) = self.nodes.get_mut(node as usize).filter(|node| node.is_up && node.life == life) else {
            return Ok(());
        };
        self.log.line(self.now_ms, node, 7).number(u64::from(life));
        (machine.is_up, machine.life) = (false, life.wrapping_add(1));
        (machine.bid, machine.is_idle, machine.notices_coming) = (None, false, 0);
        machine.alarm.clear();
        machine.taken.clear();
        let connections = std::mem::take(&mut machine.connections);
        self.idle.remove(&node);
        while self.end_task(node, |_| true).is_some() {}
        let one_way_ms = self.fleet.get(node as usize).map_or(1, |traits| traits.one_way_ms);
        let gateways =
            (0..self.scenario.gateways.count).filter(|gateway| is_noticed && connections >> gateway & 1 == 1);
        gateways.for_each(|gateway| self.later(one_way_ms, Happening::Gone { gateway, node }));
        if let Some(away_ms) = back_ms {
            // When faults end, what is away comes back.
            let back_ms = self.now_ms.saturating_add(away_ms);
            let latest_ms = self.scenario.faults_end_ms.unwrap_or(u64::MAX).max(self.now_ms.saturating_add(1));
            self.queue.push(back_ms.min(latest_ms), Happening::Birth { node });
        }
        Ok(())
    }

    /// Many machines vanish together and for good. Nobody is told.
    pub(super) fn lose_many(&mut self) -> Result<(), String> {
        for node in 0..self.scenario.fleet.nodes {
            if !self.fleet.get(node as usize).is_some_and(|traits| traits.vanishes) {
                continue;
            }
            let Some(life) = self.nodes.get_mut(node as usize).map(|machine| {
                machine.is_lost = true;
                machine.life
            }) else {
                continue;
            };
            self.leave(node, life, None, false)?;
        }
        Ok(())
    }
}
