//! The texts of our mails: a template, a locale and the event's data go in, a subject, a plain and an HTML text come out.
//!
//! A template is two files for each locale: `….txt`, whose first line is the subject, and `….html`, where every value is
//! escaped. The files are part of the binary.

use minijinja::{Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::address::{AddressRefusal, HeaderText};

/// Which text a mail is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Template {
    /// To a new user.
    Welcome,
    /// To a merchant: enough was seen on chain.
    InvoiceProcessing,
    /// To a merchant: enough is confirmed.
    InvoicePaid,
    /// To a merchant: not enough was seen in time.
    InvoiceExpired,
    /// To a merchant: one of their endpoints is not called any more.
    EndpointDisabled,
}

/// What a user may choose to receive or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// About the account itself and what stops to work: always sent.
    Account,
    /// About invoices.
    Invoices,
}

/// A language that every template has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locale {
    /// English, and the fall-back.
    En,
    /// German.
    De,
}

/// A mail's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// One line.
    pub subject: HeaderText,
    /// For readers without HTML.
    pub text: String,
    /// For the others.
    pub html: String,
}

/// Why a mail cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RenderRefusal {
    /// A value is missing, or the template is wrong.
    #[error("the template cannot be filled: {0}")]
    Template(#[from] minijinja::Error),
    /// A value would break out of the subject.
    #[error("the subject is refused: {0}")]
    Subject(#[from] AddressRefusal),
}

const HOUR_MS: i64 = 60 * 60 * 1_000;

impl Template {
    /// Every template.
    pub const ALL: [Template; 5] = [
        Template::Welcome,
        Template::InvoiceProcessing,
        Template::InvoicePaid,
        Template::InvoiceExpired,
        Template::EndpointDisabled,
    ];

    /// Its name in events and rows.
    pub fn key(self) -> &'static str {
        match self {
            Template::Welcome => "welcome",
            Template::InvoiceProcessing => "invoice-processing",
            Template::InvoicePaid => "invoice-paid",
            Template::InvoiceExpired => "invoice-expired",
            Template::EndpointDisabled => "endpoint-disabled",
        }
    }

    /// Finds a template by its name.
    pub fn parse(key: &str) -> Option<Self> {
        Template::ALL.into_iter().find(|template| template.key() == key)
    }

    /// Raised whenever a text changes its meaning.
    pub fn version(self) -> i64 {
        1
    }

    /// What preferences call it.
    pub fn category(self) -> Category {
        match self {
            Template::Welcome | Template::EndpointDisabled => Category::Account,
            Template::InvoiceProcessing | Template::InvoicePaid | Template::InvoiceExpired => Category::Invoices,
        }
    }

    /// How long a mail is of use. No more than the 24 hours for which providers remember an idempotency key: a mail that
    /// is tried again within its time cannot arrive twice.
    pub fn ttl_ms(self) -> i64 {
        match self {
            Template::InvoiceProcessing => 2 * HOUR_MS,
            Template::Welcome | Template::InvoicePaid | Template::InvoiceExpired | Template::EndpointDisabled => {
                24 * HOUR_MS
            }
        }
    }

    /// Fills the template with the values of `data`, an object.
    pub fn render(self, locale: Locale, data: &Value) -> Result<Content, RenderRefusal> {
        let data = minijinja::Value::from(minijinja::value::Serde(data));
        let (plain, html) = self.sources(locale);
        let (subject, text) = plain.split_once("\n\n").expect("a template begins with its subject and an empty line");
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let subject = environment.render_named_str("subject.txt", subject, data.clone())?;
        Ok(Content {
            subject: HeaderText::parse(&subject)?,
            text: environment.render_named_str("mail.txt", text, data.clone())?,
            html: environment.render_named_str("mail.html", html, data)?,
        })
    }

    fn sources(self, locale: Locale) -> (&'static str, &'static str) {
        macro_rules! files {
            ($name:literal) => {
                (
                    include_str!(concat!("templates/", $name, ".txt")),
                    include_str!(concat!("templates/", $name, ".html")),
                )
            };
        }
        match (self, locale) {
            (Template::Welcome, Locale::En) => files!("welcome.en"),
            (Template::Welcome, Locale::De) => files!("welcome.de"),
            (Template::InvoiceProcessing, Locale::En) => files!("invoice-processing.en"),
            (Template::InvoiceProcessing, Locale::De) => files!("invoice-processing.de"),
            (Template::InvoicePaid, Locale::En) => files!("invoice-paid.en"),
            (Template::InvoicePaid, Locale::De) => files!("invoice-paid.de"),
            (Template::InvoiceExpired, Locale::En) => files!("invoice-expired.en"),
            (Template::InvoiceExpired, Locale::De) => files!("invoice-expired.de"),
            (Template::EndpointDisabled, Locale::En) => files!("endpoint-disabled.en"),
            (Template::EndpointDisabled, Locale::De) => files!("endpoint-disabled.de"),
        }
    }
}

impl Category {
    /// Every category.
    pub const ALL: [Category; 2] = [Category::Account, Category::Invoices];

    /// Its name in preferences and rows.
    pub fn key(self) -> &'static str {
        match self {
            Category::Account => "account",
            Category::Invoices => "invoices",
        }
    }

    /// Finds a category by its name.
    pub fn parse(key: &str) -> Option<Self> {
        Category::ALL.into_iter().find(|category| category.key() == key)
    }

    /// Whether it is sent whatever the preferences say.
    pub fn is_critical(self) -> bool {
        self == Category::Account
    }
}

impl Locale {
    /// The nearest language that there is: `de-AT` is German, what is unknown is English.
    pub fn nearest(tag: &str) -> Self {
        match tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "de" => Locale::De,
            _ => Locale::En,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data() -> Value {
        json!({
            "user": "usr_1",
            "invoice": "inv_1",
            "due": "1.5 ETH",
            "received": "1.5 ETH",
            "order_id": "A-7",
            "endpoint": "ep_1",
            "gone": true,
        })
    }

    #[test]
    fn every_template_can_be_filled_in_every_locale() {
        for template in Template::ALL {
            assert_eq!(Template::parse(template.key()), Some(template));
            for locale in [Locale::En, Locale::De] {
                let content = template.render(locale, &data()).expect("every value is there");
                for part in [content.subject.as_str(), &content.text, &content.html] {
                    assert!(!part.is_empty() && !part.contains("{{"), "{template:?} {locale:?}: {part}");
                }
            }
        }
    }

    // promise: DOMAIN: values in HTML mails are escaped
    #[test]
    fn a_value_cannot_write_html() {
        let mut data = data();
        data["order_id"] = json!("<script>alert('1')</script> & \"co\"");
        let content = Template::InvoicePaid.render(Locale::En, &data).unwrap();
        assert!(!content.html.contains("<script>"), "{}", content.html);
        assert!(content.html.contains("&lt;script&gt;"));
        assert!(content.text.contains("<script>"), "plain text is left as it is: {}", content.text);
    }

    // promise: DOMAIN: mail header injection is refused
    #[test]
    fn a_value_cannot_write_headers() {
        let mut data = data();
        data["due"] = json!("1 ETH\r\nBcc: everybody@example.com");
        let refusal = Template::InvoicePaid.render(Locale::En, &data).unwrap_err();
        assert!(matches!(refusal, RenderRefusal::Subject(AddressRefusal::Control)), "{refusal}");
    }

    #[test]
    fn a_missing_value_is_refused_instead_of_left_empty() {
        assert!(matches!(Template::InvoicePaid.render(Locale::En, &json!({})), Err(RenderRefusal::Template(_))));
    }

    // promise: DOMAIN: a template's locale falls back to the nearest that there is
    #[test]
    fn a_locale_falls_back_to_its_language_and_then_to_english() {
        let check = |tag: &str, expected| assert_eq!(Locale::nearest(tag), expected, "{tag}");
        check("de", Locale::De);
        check("de-AT", Locale::De);
        check("DE_ch", Locale::De);
        check("fr-FR", Locale::En);
        check("", Locale::En);
    }
}
