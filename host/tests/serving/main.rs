//! The host with a real component: one file for each kind of promise, one running host for each test.

mod bounds;
mod house;
mod outbound;
mod postgres;
mod process;
mod start;
mod storage;
