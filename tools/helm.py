"""`helm template` and `helm lint` where no helm is installed: the few options that this project uses, on Helm's own library
(PyPI helm-python-sdk). Started by the script that tools/cluster.sh writes.

    helm template NAME CHART [--namespace NS] [--values FILE]... [--set K=V]... [--set-json K=V]... [--kube-version V]
    helm lint CHART [the same]
"""

import argparse
import pathlib
import sys

import helm_python as helm


def arguments():
    parser = argparse.ArgumentParser(prog="helm")
    parser.add_argument("command", choices=["template", "lint"])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--namespace", "-n", default="default")
    parser.add_argument("--values", "-f", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--set-json", action="append", default=[])
    parser.add_argument("--kube-version", default=None)
    return parser.parse_args()


def merge(into, more):
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value
    return into


def values(given):
    merged = {}
    for file in given.values:
        merge(merged, helm.values_from_yaml(pathlib.Path(file).read_text()))
    for text in given.set:
        merge(merged, helm.parse_set_string(text))
    for text in given.set_json:
        merge(merged, helm.parse_set_json(text))
    return merged


def template(given):
    name, path = given.names
    with helm.Chart.load(path) as chart:
        chosen = values(given)
        chart.validate_schema(chart.merge_values(chosen))
        rendered = chart.render(chosen, name=name, namespace=given.namespace, is_install=True)
    for source, text in sorted(rendered.items()):
        if text.strip() and not source.endswith((".txt", ".tpl")):
            print(f"---\n# Source: {source}\n{text.strip()}")


def lint(given):
    (path,) = given.names
    options = {"kube_version": given.kube_version} if given.kube_version else {}
    report = helm.lint(path, values(given), namespace=given.namespace, **options)
    for message in report["messages"]:
        print(message["path"], message["error"])
    if report.get("errors"):
        sys.exit("\n".join(report["errors"]))


def main():
    given = arguments()
    try:
        {"template": template, "lint": lint}[given.command](given)
    except helm.HelmError as error:
        sys.exit(f"Error: {error}")


main()
