//! Tokens are arrows: one that comes in opens one topic, one that goes out is shown to one sink, and neither opens the other door.

use crate::process::Process;
use crate::support::*;

// promise: BRIDGE: tokens are bound to topics in, and to sinks out, and neither opens the other door
#[test]
fn a_token_opens_its_own_door_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (Sink::start(|_, _| answer(204)), Sink::start(|_, _| answer(204)));
    for (file, token) in
        [("tokens/one", "push-one"), ("tokens/two", "push-two"), ("one", "call-one"), ("two", "call-two")]
    {
        std::fs::create_dir_all(folder.path().join("tokens")).unwrap();
        std::fs::write(folder.path().join(file), token).unwrap();
    }
    let source = |name: &str, sink: &Sink| {
        format!(
            "---\napiVersion: till.dev/v1\nkind: Source\nmetadata: {{ name: {name} }}\nspec:\n  bootstrapServers: [b:1]\n  topics: [{name}]\n  \
             sink: {{ uri: 'http://{}/' }}\n  auth: {{ tokenFile: {}/{name} }}\n",
            sink.address,
            folder.path().display()
        )
    };
    let documents = format!("{}{}{}", topics(&[("one", 1), ("two", 1)]), source("one", &one), source("two", &two));
    let log = format!("embedded:{}", folder.path().join("log.db").display());
    let process = Process::start(folder.path(), &log, &documents);
    let push = |topic, token| process.push(topic, token).unwrap().0;
    assert_eq!([push("one", "push-one"), push("two", "push-two")], [202, 202]);
    assert_eq!([push("two", "push-one"), push("one", "push-two")], [403, 403]);
    assert_eq!([push("one", "call-one"), push("two", "call-two"), push("one", "nothing")], [401, 401, 401]);
    for (sink, token) in [(&one, "Bearer call-one"), (&two, "Bearer call-two")] {
        sink.wait_for(1);
        assert!(sink.calls().iter().all(|call| call.headers["authorization"] == token), "{:?}", sink.calls());
    }
    assert!(["push-one", "call-one"].iter().all(|token| !process.said().contains(token)), "{}", process.said());
}
