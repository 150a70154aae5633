//! Which component answers a path: `/core/...` and everything below it, or one path exactly. The longest match wins, and
//! an exact route wins over a wildcard of the same length.

/// One `[[trigger.http]]` route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// As written in spin.toml.
    pub text: String,
    /// Index of the component in the application.
    pub component: usize,
    prefix: String,
    wildcard: bool,
}

impl Route {
    /// Reads a route; says what is wrong with it otherwise.
    pub fn parse(text: &str, component: usize) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("route `{text}` does not start with `/`"));
        }
        let (prefix, wildcard) = match text.strip_suffix("/...") {
            Some(prefix) => (prefix, true),
            None => (text.trim_end_matches('/'), false),
        };
        if prefix.contains("...") || prefix.contains("/:") {
            return Err(format!("route `{text}`: only a trailing `/...` may be a wildcard"));
        }
        Ok(Self { text: text.to_owned(), component, prefix: prefix.to_owned(), wildcard })
    }

    fn matches(&self, path: &str) -> bool {
        match path.strip_prefix(&self.prefix) {
            Some(rest) if self.wildcard => rest.is_empty() || rest.starts_with('/'),
            Some(rest) => rest.is_empty() || rest == "/",
            None => false,
        }
    }

    /// Two routes with the same key can never both be reached.
    pub fn key(&self) -> (&str, bool) {
        (&self.prefix, self.wildcard)
    }
}

/// All routes, the most telling first.
#[derive(Debug, Default)]
pub struct Routes(Vec<Route>);

impl Routes {
    pub fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| (std::cmp::Reverse(route.prefix.len()), route.wildcard));
        Self(routes)
    }

    pub fn find(&self, path: &str) -> Option<&Route> {
        self.0.iter().find(|route| route.matches(path))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(routes: &[&str], path: &str, expected: Option<&str>) {
        let routes = routes.iter().map(|text| Route::parse(text, 0).expect("a route")).collect();
        assert_eq!(Routes::new(routes).find(path).map(|route| route.text.as_str()), expected, "{path}");
    }

    #[test]
    fn a_wildcard_takes_its_root_and_what_is_below() {
        check(&["/core/..."], "/core", Some("/core/..."));
        check(&["/core/..."], "/core/v1/users", Some("/core/..."));
        check(&["/core/..."], "/corepulent", None);
        check(&["/..."], "/", Some("/..."));
    }

    #[test]
    fn the_longest_match_wins_and_exact_before_wildcard() {
        check(&["/...", "/a/...", "/a/b/..."], "/a/b/c", Some("/a/b/..."));
        check(&["/a/...", "/a"], "/a", Some("/a"));
        check(&["/a/...", "/a"], "/a/b", Some("/a/..."));
    }

    #[test]
    fn unreadable_routes_are_refused() {
        assert!(Route::parse("core", 0).is_err());
        assert!(Route::parse("/a/.../b", 0).is_err());
        assert!(Route::parse("/a/:id", 0).is_err());
    }
}
