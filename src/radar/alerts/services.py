"""The services that deliver messages to people, by apprise. The URLs hold passwords and tokens.

No URL and no error of the library is logged or shown: both may hold the secret.
"""

import logging
from typing import Protocol

import apprise

from radar.alerts.messages import Message
from radar.errors import ConfigurationError
from radar.settings import Settings, alert_urls


class Service(Protocol):
    """A way to people."""

    @property
    def name(self) -> str:
        """Its name without any secret: its place in ALERT_URLS, and its kind."""

    @property
    def kind(self) -> str:
        """Its kind: the scheme of its URL."""

    def deliver(self, message: Message) -> bool:
        """Send a message; return whether the service has taken it. Blocks."""


class AppriseService:
    """One URL of ALERT_URLS."""

    def __init__(self, number: int, url: str) -> None:
        """Prepare; no connection is made.

        Args:
            number: Its place in ALERT_URLS, from 1.
            url: The URL.

        Raises:
            ConfigurationError: apprise knows no such service, or the URL lacks a part.
        """
        self.kind = url.partition("://")[0].lower()
        self.name = f"URL {number} ({self.kind})"
        # Texts are neither markup nor patterns, and the library keeps no file.
        asset = apprise.AppriseAsset(
            async_mode=False, interpret_escapes=False, interpret_emojis=False, plugin_paths=[]
        )
        self._apprise = apprise.Apprise(asset=asset)
        if not self._apprise.add(url):
            raise ConfigurationError(
                f"ALERT_URLS: {self.name} is not complete, or apprise knows no such service:"
                " docs/alerts.md shows examples"
            )

    def deliver(self, message: Message) -> bool:
        """Send a message; return whether the service has taken it. Blocks."""
        return bool(
            self._apprise.notify(
                title=message.title,
                body=message.body,
                notify_type=apprise.NotifyType(message.kind),
                body_format=apprise.NotifyFormat.TEXT,
            )
        )


def configured(settings: Settings) -> list[AppriseService]:
    """Return the services of ALERT_URLS.

    Raises:
        ConfigurationError: There is none, or one of them is wrong.
    """
    # Its lines name URLs, answers and headers.
    for name in ("apprise", "urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    urls = alert_urls(settings.alert_urls)
    if not urls:
        raise ConfigurationError(
            "ALERT_URLS is empty: set it to the URL of a service, e.g. mailto://; docs/alerts.md"
            " shows examples"
        )
    return [AppriseService(number, url) for number, url in enumerate(urls, 1)]
