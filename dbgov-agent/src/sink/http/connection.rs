//! A client made of the configuration, and made anew where that may help: tokens and certificates are replaced while the
//! agent runs.

use std::sync::Arc;

use super::client::Client;
use super::config::{ConnectError, HttpConfig};
use crate::sink::parts::Answer;

#[derive(Debug)]
pub struct Connection {
    config: HttpConfig,
    client: Option<Arc<Client>>,
}

impl Connection {
    pub fn new(config: &HttpConfig) -> Self {
        Connection {
            config: config.clone(),
            client: None,
        }
    }

    fn client(&mut self) -> Result<Arc<Client>, ConnectError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = Arc::new(Client::new(self.config.settings()?)?);
        self.client = Some(client.clone());
        Ok(client)
    }

    /// A client for one request, or what is wrong with the files it needs.
    pub fn ready(&mut self) -> Result<Arc<Client>, Answer> {
        self.client()
            .map_err(|error| Answer::misconfigured(error.to_string()))
    }

    /// After a failure the next request reads the files again and connects anew.
    pub fn heed(&mut self, answer: Answer) -> Answer {
        if matches!(answer, Answer::Later { .. }) {
            self.client = None;
        }
        answer
    }
}
