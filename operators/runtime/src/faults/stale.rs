//! Lists of the past: the server itself is asked for the state at an older revision.

use http::uri::{PathAndQuery, Uri};

/// The address of the same list at exactly this revision; none for what is not a list, and for the
/// further pages of one, whose token holds the revision already.
pub(super) fn list_at(uri: &Uri, revision: &str) -> Option<Uri> {
    let mut words = uri.path().trim_start_matches('/').split('/');
    let before_kind = match words.next()? {
        "api" => 1,
        "apis" => 2,
        _ => return None,
    };
    let resource: Vec<&str> = words.skip(before_kind).collect();
    if !matches!(resource[..], [_] | ["namespaces", _, _]) {
        return None;
    }
    let query = uri.query().unwrap_or("");
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    if pairs.iter().any(|pair| pair.starts_with("continue=")) {
        return None;
    }
    pairs.retain(|pair| !pair.starts_with("resourceVersion"));
    let (exact, at) = ("resourceVersionMatch=Exact", format!("resourceVersion={revision}"));
    pairs.extend([exact, &at]);
    let path_and_query = format!("{}?{}", uri.path(), pairs.join("&"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_7(uri: &str) -> Option<String> {
        list_at(&uri.parse().expect("an address"), "7").map(|uri| uri.to_string())
    }

    #[test]
    fn a_list_is_asked_for_at_the_older_revision() {
        let exact = "resourceVersionMatch=Exact&resourceVersion=7";
        assert_eq!(
            at_7("/api/v1/namespaces/a/secrets?&limit=5&resourceVersion=0"),
            Some(format!("/api/v1/namespaces/a/secrets?limit=5&{exact}"))
        );
        assert_eq!(
            at_7("/apis/apps/v1/statefulsets"),
            Some(format!("/apis/apps/v1/statefulsets?{exact}"))
        );
    }

    #[test]
    fn single_objects_and_further_pages_are_left_as_they_are() {
        assert_eq!(at_7("/api/v1/namespaces/a/secrets/b"), None);
        assert_eq!(at_7("/api/v1/namespaces/a"), None);
        assert_eq!(at_7("/api/v1/secrets?continue=abc"), None);
        assert_eq!(at_7("/version"), None);
    }
}
