//! The ingress: CloudEvents come in over HTTP and become records of the topic that their sender's token names.
