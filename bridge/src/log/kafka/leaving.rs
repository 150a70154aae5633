//! How a member goes: what it holds is given back, and the others are told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::groups::GroupInfo;

use super::arrivals::{Events, Polled};
use super::raw;
use super::reader::{Reader, list};

/// How long the cluster may take to tell who is in a group.
const GROUP_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a leaving thread looks whether it has left.
const LEAVE_POLL: Duration = Duration::from_millis(10);

impl Reader {
    /// Gives everything back and leaves the group, so that the others have the partitions at once. A member that is alone stays
    /// in the group for its session's time: nobody waits for its partitions, and its next start finds them without a rebalance.
    pub(super) fn leave(&mut self, events: &mut Events) {
        let deadline = Instant::now() + self.member.group.revoke_timeout + Duration::from_secs(5);
        let member = Arc::clone(&self.member);
        if !self.dead && !self.is_alone() {
            // A close alone never takes a static member out of its group; an unsubscription does.
            member.consumer.unsubscribe();
            self.give_back(events, deadline, || raw::has_left(&member.consumer));
        }
        if let Err(error) = member.consumer.close_queue() {
            tracing::warn!(%error, source = member.group.source, "the consumer could not be closed");
            return;
        }
        self.give_back(events, deadline, || member.consumer.closed());
    }

    /// Whether nobody else is in the group. Who does not know leaves, as promised.
    fn is_alone(&self) -> bool {
        let listed = self.member.consumer.fetch_group_list(Some(&self.member.group.group), GROUP_TIMEOUT);
        // An empty group's list of members is no memory at all.
        let members = |group: &GroupInfo| if group.state() == "Empty" { 0 } else { group.members().len() };
        listed.is_ok_and(|list| list.groups().iter().map(members).sum::<usize>() <= 1)
    }

    /// Passes revocations on until it is over.
    fn give_back(&mut self, events: &mut Events, deadline: Instant, is_over: impl Fn() -> bool) {
        while !is_over() && Instant::now() < deadline {
            match events.poll(LEAVE_POLL) {
                Polled::Lost(partitions) => self.lose(partitions),
                Polled::Gained(partitions) => {
                    let _ = self.member.consumer.incremental_unassign(&list(&partitions));
                }
                _ => {}
            }
        }
    }
}
