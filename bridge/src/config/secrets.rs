//! Secrets as a cluster mounts them: a reference `secretKeyRef: { name, key }` becomes the file `DIR/name/key`, or its text.

use std::fmt;
use std::path::{Path, PathBuf};

use super::fields::Fields;

/// The folder of `--secrets`, with one folder a Secret and one file a key.
#[derive(Clone, Copy)]
pub struct Secrets<'a>(pub Option<&'a Path>);

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// For the one who needs it, and for no log.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Secrets<'_> {
    /// The text of `field: { secretKeyRef: { name, key } }`; `None` when the field is absent, and when its problem was told.
    pub fn text(&self, fields: &mut Fields, field: &str) -> Option<Secret> {
        let path = fields.name(field);
        let (line, file) = self.file(fields, field)?;
        match self.read(&file) {
            Ok(text) => Some(Secret(text)),
            Err(reason) => {
                fields.problem(line, format!("`{path}`: {reason}"));
                None
            }
        }
    }

    /// The file of such a field, with its line. Whether it is there has been looked.
    pub fn file(&self, fields: &mut Fields, field: &str) -> Option<(usize, PathBuf)> {
        let path = fields.name(field);
        let mut value = fields.fields(field)?;
        let line = value.line;
        let reference = value.fields("secretKeyRef");
        value.finish();
        let Some(mut reference) = reference else {
            fields.problem(line, format!("`{path}` must be {{ secretKeyRef: {{ name, key }} }}"));
            return None;
        };
        let (name, key) = (reference.required("name"), reference.required("key"));
        reference.ignored("optional");
        reference.finish();
        match self.place(&name, &key) {
            _ if name.is_empty() || key.is_empty() => None,
            Ok(file) => Some((line, file)),
            Err(reason) => {
                fields.problem(line, format!("`{path}`: {reason}"));
                None
            }
        }
    }

    /// The text of one key of a whole Secret; `None` when it is not in it.
    pub fn key(&self, name: &str, key: &str) -> Result<Option<Secret>, String> {
        let file = self.folder(name)?.join(key);
        if file.exists() { self.read(&file).map(|text| Some(Secret(text))) } else { Ok(None) }
    }

    /// The folder of one Secret.
    pub fn folder(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.0.ok_or_else(|| {
            format!("the Secret `{name}` is needed: say where Secrets are mounted with --secrets DIR (DIR/{name}/KEY)")
        })?;
        let folder = one_step(name).map(|name| folder.join(name))?;
        if folder.is_dir() { Ok(folder) } else { Err(format!("there is no Secret: mount it as {}", folder.display())) }
    }

    fn place(&self, name: &str, key: &str) -> Result<PathBuf, String> {
        let file = self.folder(name)?.join(one_step(key)?);
        if file.is_file() {
            return Ok(file);
        }
        Err(format!("the Secret `{name}` has no key `{key}`: {} is missing", file.display()))
    }

    /// A line's end at the end is an editor's, and no part of the secret.
    fn read(&self, file: &Path) -> Result<String, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
        if text.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(text.to_owned()) }
    }
}

/// A name that leads nowhere else.
fn one_step(name: &str) -> Result<&str, String> {
    let fine = !name.contains(['/', '\0']) && name != "." && name != "..";
    fine.then_some(name).ok_or_else(|| format!("`{name}` is no name of a Secret or of its key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fields::Problems;
    use crate::config::yaml;

    fn read(folder: Option<&Path>, value: &str) -> Result<String, String> {
        let documents = yaml::documents(&format!("\nuser: {value}"), &|_| None).unwrap();
        let problems = Problems::of("f.yaml");
        let mut fields = Fields::of(&documents[0], "sasl", &problems);
        let found = Secrets(folder).text(&mut fields, "user");
        let problems: Vec<String> = problems.into_vec().iter().map(ToString::to_string).collect();
        found.map(|secret| secret.reveal().to_owned()).ok_or(problems.join("\n"))
    }

    // promise: BRIDGE: secrets are read from a mounted layout
    #[test]
    fn a_secret_is_a_folder_and_its_key_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("kafka")).unwrap();
        for (key, text) in [("user", "alice\n"), ("dos", "bob\r\n"), ("empty", "\n")] {
            std::fs::write(folder.path().join("kafka").join(key), text).unwrap();
        }
        let reference = |name: &str, key: &str| format!("{{ secretKeyRef: {{ name: {name}, key: {key} }} }}");
        let check = |value: String| read(Some(folder.path()), &value);
        assert_eq!(check(reference("kafka", "user")), Ok("alice".into()));
        assert_eq!(check(reference("kafka", "dos")), Ok("bob".into()));
        for (value, word) in [
            (reference("kafka", "empty"), "is empty"),
            (reference("kafka", "none"), "has no key `none`"),
            (reference("none", "user"), "there is no Secret"),
            (reference("'..'", "user"), "no name of a Secret"),
            (reference("kafka", "../kafka/user"), "no name of a Secret"),
            ("alice".into(), "must be a mapping"),
            ("{}".into(), "secretKeyRef"),
        ] {
            let problem = check(value.clone()).unwrap_err();
            assert!(problem.starts_with("f.yaml:2: ") && problem.contains(word), "{value}: {problem}");
        }
        assert!(read(None, &reference("kafka", "user")).unwrap_err().contains("--secrets DIR"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
