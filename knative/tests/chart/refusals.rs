//! Values that do not do are refused, with a word why, and all at once.

use chart_tests::chart::Chart;

use crate::charts;

fn refused(chart: &Chart, changes: &[&str], expected: &[&str]) {
    let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
    let told = chart.render(&changes).expect_err(&format!("{changes:?} renders"));
    for expected in expected {
        assert!(told.contains(expected), "{changes:?}: `{expected}` is not in: {told}");
    }
}

#[test]
fn sqlite_is_refused_with_a_word_why() {
    for chart in charts("sqlite_is_refused_with_a_word_why") {
        refused(&chart, &["database.kind=\"sqlite\""], &["sqlite is a file on one machine", "postgres"]);
    }
}

#[test]
fn everything_that_is_missing_is_told_in_one_message() {
    let Some(chart) = charts("everything_that_is_missing_is_told_in_one_message").into_iter().next() else { return };
    let changes = [
        "kafka.bootstrapServers=\"\"",
        "database.address=\"\"",
        "auth.jwks=\"\"",
        "functions.payment.variables.rate_feed_b=\"\"",
        "functions.loyalty={}",
        "functions.core.scale={\"min\":3,\"max\":2}",
        "secrets.kind=\"external\"",
        "ingress.kind=\"alb\"",
    ];
    let expected = [
        "kafka.bootstrapServers",
        "database.address",
        "auth.jwks",
        "functions.payment.variables.rate_feed_b",
        "functions.loyalty: no source in sources.yaml calls it",
        "functions.loyalty: sources.yaml has no KafkaSink",
        "functions.core.scale: min is above max",
        "secrets.external.storeName",
        "ingress.domain",
        "ingress.alb.certificateArn",
    ];
    refused(&chart, &changes, &expected);
}

#[test]
fn a_plain_secret_needs_all_of_its_values() {
    let Some(chart) = charts("a_plain_secret_needs_all_of_its_values").into_iter().next() else { return };
    let changes = ["secrets.kind=\"plain\"", "secrets.values={\"core\":{\"push-token\":\"x\"},\"loyalty\":{}}"];
    let expected = ["secrets.values.core.bridge-token", "secrets.values.payment.chain-url", "secrets.values.loyalty"];
    refused(&chart, &changes, &expected);
}

#[test]
fn the_schema_refuses_what_is_not_there_or_of_another_kind() {
    let Some(chart) = charts("the_schema_refuses_what_is_not_there_or_of_another_kind").into_iter().next() else {
        return;
    };
    let wrong = [
        ("images.host.tag=\"latest\"", "tag"),
        ("images.bridge.digest=\"sha256:1\"", "digest"),
        ("functionDefaults.window=\"5s\"", "window"),
        ("functions.core.scale={\"min\":-1}", "min"),
        ("functions.core.concurrency=33", "concurrency"),
        ("functions.core.replicas=1", "replicas"),
        ("functions.core.variables={\"UPPER\":\"x\"}", "UPPER"),
        ("bridge.replicas=0", "replicas"),
        ("kafka.bootstrapServers=\"kafka\"", "bootstrapServers"),
        ("database.address=\"postgres://h:5432\"", "address"),
        ("epoch=\"0\"", "epoch"),
        ("ingress.kind=\"nginx\"", "kind"),
        ("nonsense=1", "nonsense"),
    ];
    for (change, expected) in wrong {
        refused(&chart, &[change], &[expected]);
    }
}
