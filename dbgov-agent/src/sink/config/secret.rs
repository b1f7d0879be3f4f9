//! A password or token, given in the configuration, in a file of its own or in the environment.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

/// Longest secret, bytes: a token of the longest kind (a JSON Web Token with many claims) has a few thousand.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// `token = "…"`, `token = { file = "/etc/dbgov/token" }`, `token = { env = "TOKEN" }`.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Secret(Source);

#[derive(Clone)]
enum Source {
    Given(SecretString),
    File(PathBuf),
    Env(String),
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "give a secret as a text, or as { file = \"…\" } or { env = \"…\" }"
)]
enum Written {
    Given(SecretString),
    Elsewhere(Elsewhere),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    file: Option<PathBuf>,
    env: Option<String>,
}

impl TryFrom<Written> for Secret {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        const EITHER: &str = "give a text, { file = \"PATH\" } or { env = \"NAME\" }";
        match written {
            Written::Given(text) => Ok(Secret(Source::Given(text))),
            Written::Elsewhere(Elsewhere {
                file: Some(path),
                env: None,
            }) if !path.as_os_str().is_empty() => Ok(Secret(Source::File(path))),
            Written::Elsewhere(Elsewhere {
                file: None,
                env: Some(name),
            }) if !name.is_empty() => Ok(Secret(Source::Env(name))),
            Written::Elsewhere(_) => Err(EITHER),
        }
    }
}

/// Names the place, never what is there.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Given(_) => f.write_str("Secret(..)"),
            Source::File(path) => write!(f, "Secret(file {})", path.display()),
            Source::Env(name) => write!(f, "Secret(env {name})"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret in {path}: {source}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("there is no secret in {0}: it is empty or longer than {SECRET_BYTES_MAX} bytes")]
    Length(String),
    #[error("the environment variable {0} is not set, or not UTF-8")]
    Env(String),
}

impl Secret {
    /// The file it is in, to be made relative to the configuration's directory.
    pub fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match &mut self.0 {
            Source::File(path) => Some(path),
            Source::Given(_) | Source::Env(_) => None,
        }
    }

    /// The secret as it is now: to be read with each new connection, since secrets in files are changed under way.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match &self.0 {
            Source::Given(secret) => Ok(secret.clone()),
            Source::Env(name) => match std::env::var(name) {
                Ok(text) if !text.is_empty() => Ok(text.into()),
                _ => Err(SecretError::Env(name.clone())),
            },
            Source::File(path) => {
                let mut text = String::new();
                std::fs::File::open(path)
                    .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text))
                    .map_err(|source| SecretError::File {
                        path: path.clone(),
                        source,
                    })?;
                let too_long = text.len() as u64 > SECRET_BYTES_MAX;
                // Editors end a file with a newline.
                let secret: SecretString = text.trim_end_matches(['\r', '\n']).into();
                match too_long || secrecy::ExposeSecret::expose_secret(&secret).is_empty() {
                    true => Err(SecretError::Length(path.display().to_string())),
                    false => Ok(secret),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        token: Secret,
    }

    fn secret(text: &str) -> Result<Secret, String> {
        let holder: Result<Holder, _> = toml::from_str(text);
        holder
            .map(|holder| holder.token)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn given_in_a_file_or_in_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "in the file\n").unwrap();
        let in_file = secret(&format!("token = {{ file = {path:?} }}")).unwrap();
        assert_eq!(in_file.read().unwrap().expose_secret(), "in the file");
        assert!(format!("{in_file:?}").contains("token"));

        let given = secret("token = \"hunter2\"").unwrap();
        assert_eq!(given.read().unwrap().expose_secret(), "hunter2");
        assert_eq!(format!("{given:?}"), "Secret(..)");

        let absent = secret("token = { env = \"DBGOV_NO_SUCH_VARIABLE\" }").unwrap();
        let error = absent.read().unwrap_err().to_string();
        assert!(error.contains("DBGOV_NO_SUCH_VARIABLE"), "{error}");
    }

    #[test]
    fn what_is_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let in_file = secret(&format!("token = {{ file = {path:?} }}")).unwrap();
        assert!(matches!(in_file.read(), Err(SecretError::File { .. })));
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(in_file.read(), Err(SecretError::Length(_))));
        std::fs::write(&path, "x".repeat(SECRET_BYTES_MAX as usize + 1)).unwrap();
        assert!(matches!(in_file.read(), Err(SecretError::Length(_))));
        for text in [
            "token = 5",
            "token = {}",
            "token = { file = \"a\", env = \"b\" }",
            "token = { file = \"\" }",
            "token = { fil = \"a\" }",
        ] {
            assert!(secret(text).is_err(), "{text}");
        }
    }
}
