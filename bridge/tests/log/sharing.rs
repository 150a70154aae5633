//! What only a cluster has: members that share partitions, replicas that come back, transactions that abort.
