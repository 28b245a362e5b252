"""Notifier: all channels together."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from bridge.core.clock import Clock
from bridge.notify.channel import Channel, Outlet
from bridge.notify.link import Link
from bridge.settings import NotifySettings
from bridge.store.store import Store


class Notifier:
    """The channels of the settings; without any it costs nothing, and apprise is not loaded."""

    def __init__(
        self,
        settings: NotifySettings,
        *,
        page: str,
        store: Store,
        clock: Clock,
        on_result: Callable[[str, bool], None],
        on_trouble: Callable[[str], None],
        on_fault: Callable[[str, BaseException], None],
    ):
        window = timedelta(minutes=settings.repeat_minutes)
        self._channels: Mapping[str, Channel] = {
            name: Channel(
                Outlet(name=name, kinds=frozenset(channel.events), window=window, page=page),
                Link(name, channel.url.get_secret_value()),
                store=store,
                clock=clock,
                on_result=on_result,
                on_trouble=on_trouble,
                on_fault=on_fault,
            )
            for name, channel in settings.channels.items()
        }

    def wake(self) -> None:
        """Something was committed. In the event loop, and next to nothing."""
        for channel in self._channels.values():
            channel.wake()

    def troubles(self) -> list[str]:
        """Channels that reach nobody, a sentence each."""
        return [told for channel in self._channels.values() if (told := channel.describe_trouble())]

    async def start(self) -> None:
        """Begin to tell; StoreError when the store cannot say where to begin."""
        for channel in self._channels.values():
            await channel.start()

    async def stop(self) -> None:
        """End; what was not told is told after the next start."""
        for channel in self._channels.values():
            await channel.stop()
