//! Being written.
use super::{Commit, Error, Feed, Group, NewRecord, NewTopic, Partition, Record, Span};
use std::collections::BTreeMap;
use std::sync::Arc;
pub(super) struct Cluster {}
pub(super) struct Member {}
impl Cluster {
    pub(super) fn open(_: BTreeMap<String, String>, _: &str) -> Result<Arc<Self>, Error> {
        Err(Error::Closed)
    }
    pub(super) fn join(&self, _: Group) -> Result<(Feed, Arc<Member>), Error> {
        Err(Error::Closed)
    }
    pub(super) async fn append(&self, _: Vec<NewRecord>) -> Result<(), Error> {
        Err(Error::Closed)
    }
    pub(super) async fn create_topics(&self, _: Vec<NewTopic>) -> Result<Vec<String>, Error> {
        Err(Error::Closed)
    }
    pub(super) async fn topics(&self) -> Result<BTreeMap<String, i32>, Error> {
        Err(Error::Closed)
    }
    pub(super) async fn spans(&self, _: Vec<Partition>) -> Result<BTreeMap<Partition, Span>, Error> {
        Err(Error::Closed)
    }
    pub(super) async fn committed(&self, _: &str, _: Vec<Partition>) -> Result<Vec<Commit>, Error> {
        Err(Error::Closed)
    }
    pub(super) async fn read(&self, _: Partition, _: i64, _: usize) -> Result<Vec<Record>, Error> {
        Err(Error::Closed)
    }
}
impl Member {
    pub(super) fn pause(&self, _: &[Partition]) {}
    pub(super) fn resume(&self, _: &[Partition]) {}
    pub(super) async fn settle(&self, _: Vec<NewRecord>, _: Vec<Commit>) -> Result<(), Error> {
        Err(Error::Closed)
    }
    pub(super) fn close(&self) {}
}
