//! Downloads from `/bzz`: which file a path means, in the order in which Bee looks for it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE as TYPE_HEADER, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use manyhands_blob::manifest::{Entry, PATH_BYTES_MAX, has_prefix, lookup};
use manyhands_blob::{AnyReference, ChunkStore};

use super::{CONTENT_TYPE, ERROR, FILENAME, INDEX, ROOT};
use crate::deliver::Delivery;
use crate::headers::{self, Path};
use crate::hive::Hive;
use crate::look::{LookError, load_node};
use crate::refusal::Refusal;

/// Pages from a manifest are strangers' pages: they get an origin of their own, so that they cannot use this door.
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox allow-scripts allow-forms allow-popups");

type Answer = Result<Response<Body>, Refusal>;

/// What a path leads to.
enum Found {
    File(AnyReference, Entry),
    /// A folder, asked for without the slash at its end.
    Folder,
    Nothing(&'static str),
}

/// `GET` and `HEAD /bzz/{reference}/{path}`.
pub(crate) async fn get(
    State(hive): State<Arc<Hive>>,
    method: Method,
    uri: Uri,
    Path((reference, path)): Path<(String, String)>,
    asked: HeaderMap,
) -> Answer {
    serve(&hive, &method, &uri, &reference, path, &asked).await
}

/// `GET` and `HEAD /bzz/{reference}/`.
pub(crate) async fn get_root(
    State(hive): State<Arc<Hive>>,
    method: Method,
    uri: Uri,
    Path(reference): Path<String>,
    asked: HeaderMap,
) -> Answer {
    serve(&hive, &method, &uri, &reference, String::new(), &asked).await
}

/// `GET /bzz/{reference}`: what is meant is the folder.
pub(crate) async fn redirect(uri: Uri) -> Answer {
    with_slash(&uri)
}

async fn serve(hive: &Hive, method: &Method, uri: &Uri, reference: &str, path: String, asked: &HeaderMap) -> Answer {
    let root = headers::reference(reference)?;
    headers::level(asked)?;
    if path.len() > PATH_BYTES_MAX {
        return Err(Refusal::not_found("path address not found"));
    }
    let found = hive.on_store(move |store| find(store, root, &path)).await;
    match found {
        Ok(Found::File(root, entry)) => {
            let delivery = Delivery { root, asked, about: about(&entry), head_only: method == Method::HEAD };
            delivery.answer(hive).await
        }
        Ok(Found::Folder) => with_slash(uri),
        Ok(Found::Nothing(message)) => Err(Refusal::not_found(message)),
        Err(error) if error.is_absence() => {
            error.note();
            Err(Refusal::not_found("Not Found"))
        }
        Err(error) => Err(error.refusal("the manifest could not be read")),
    }
}

fn find(store: &ChunkStore, root: AnyReference, path: &str) -> Result<Found, LookError> {
    let mut load = |reference| load_node(store, reference);
    let mut look = |path: &str| lookup(root, path.as_bytes(), &mut load);
    let file = |entry: Option<Entry>| entry.and_then(|entry| Some(Found::File(entry.reference?, entry)));
    let about = look(ROOT)?.map(|entry| entry.metadata).unwrap_or_default();
    let in_folder = |index: &str| match path.trim_end_matches('/') {
        "" => index.to_owned(),
        folder => format!("{folder}/{index}"),
    };
    if path.is_empty() {
        let found = about.get(INDEX).map(|index| look(index)).transpose()?.flatten();
        return Ok(file(found).unwrap_or(Found::Nothing("address not found or incorrect")));
    }
    if let Some(found) = file(look(path)?) {
        return Ok(found);
    }
    let index = about.get(INDEX).filter(|index| !path.ends_with(index.as_str()));
    let index = index.map(|index| look(&in_folder(index))).transpose()?.flatten();
    let error = about.get(ERROR).filter(|error| *error != path);
    let error = error.map(|error| look(error)).transpose()?.flatten();
    if !path.ends_with('/') && has_prefix(root, format!("{path}/").as_bytes(), &mut load)? {
        return Ok(Found::Folder);
    }
    Ok(file(index).or(file(error)).unwrap_or(Found::Nothing("path address not found")))
}

/// What a manifest says of a file, as headers. What is no header's value is left out.
fn about(entry: &Entry) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(name) = entry.metadata.get(FILENAME) {
        let name = name.rsplit('/').next().unwrap_or_default().replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("inline; filename=\"{name}\"").as_bytes()) {
            headers.insert(CONTENT_DISPOSITION, value);
        }
    }
    let content_type = entry.metadata.get(CONTENT_TYPE).and_then(|text| HeaderValue::from_str(text).ok());
    if let Some(content_type) = content_type.filter(|value| !value.is_empty()) {
        headers.insert(TYPE_HEADER, content_type);
    }
    headers.insert(CONTENT_SECURITY_POLICY, SANDBOX);
    headers
}

/// Sends the client to the same path with a slash, relative to where it is: so no other host can be meant, and it does
/// not matter what stands in front.
fn with_slash(uri: &Uri) -> Answer {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let location = HeaderValue::try_from(format!("./{last}/{query}")).map_err(|_| Refusal::not_found("Not Found"))?;
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    answer.headers_mut().insert(LOCATION, location);
    Ok(answer)
}
