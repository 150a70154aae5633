//! Every rendered object against the JSON Schema of its kind, and every Knative Service against what no schema sees.

use std::collections::BTreeSet;
use std::path::Path;

use chart_tests::admission::refusals;
use chart_tests::chart::{functions, of_kind, text, title};
use chart_tests::programs::{programs, root, run, told};

use crate::charts;

#[test]
fn every_object_is_what_its_schema_says() {
    for chart in charts("every_object_is_what_its_schema_says") {
        let folder = root().join("target/test");
        std::fs::create_dir_all(&folder).expect("target/test can be made");
        let file = folder.join(format!("chart-{}.yaml", chart.environment));
        std::fs::write(&file, chart.manifests(&[]).expect("it renders")).expect("the manifests can be written");
        let told = conforming(chart.programs, &file);
        let count = chart.objects().len();
        assert!(told.contains(&format!("Valid: {count},")), "{count} objects, and {told}");
    }
}

/// What kubeconform says of a file in which it finds nothing wrong.
fn conforming(programs: &Path, file: &Path) -> String {
    let schemas = root().join("knative/schemas");
    let core = format!("{}/core/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", schemas.display());
    let custom = format!("{}/{{{{.Group}}}}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json", schemas.display());
    let arguments = ["-strict", "-summary", "-schema-location", &core, "-schema-location", &custom];
    let output = run(&programs.join("kubeconform"), &[&arguments[..], &[&file.display().to_string()]].concat());
    assert!(output.status.success(), "{}: {}", file.display(), told(&output));
    told(&output)
}

#[test]
fn the_world_around_a_cluster_of_ones_own_is_what_its_schemas_say() {
    let test = "the_world_around_a_cluster_of_ones_own_is_what_its_schemas_say";
    let Some(programs) = programs(test) else { return };
    let told = conforming(programs, &root().join("knative/world.yaml"));
    assert!(told.contains("Valid: 12,"), "{told}");
}

#[test]
fn knatives_webhook_would_take_every_function() {
    for chart in charts("knatives_webhook_would_take_every_function") {
        let objects = chart.objects();
        let accounts: BTreeSet<String> =
            of_kind(&objects, "", "ServiceAccount").map(|one| text(one, "/metadata/name").to_owned()).collect();
        let found: Vec<_> = functions(&objects).map(|one| (title(one), refusals(one, &accounts))).collect();
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found.iter().all(|(_, refusals)| refusals.is_empty()), "{}: {found:#?}", chart.environment);
    }
}

#[test]
fn helm_has_nothing_against_the_chart() {
    let Some(programs) = programs("helm_has_nothing_against_the_chart") else { return };
    for environment in chart_tests::chart::ENVIRONMENTS {
        let values = chart_tests::chart::values_file(environment);
        let output =
            run(&programs.join("helm"), &["lint", "knative/till", "--values", &values, "--kube-version", "1.35.0"]);
        assert!(output.status.success(), "{environment}: {}", told(&output));
    }
}
