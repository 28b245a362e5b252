"""Handing reports over to the bridge: what is not taken is still to be told, whatever went wrong there."""

from bridge.brokers.base import ReportSink
from bridge.core.report import Report
from bridge.log import log_event


async def hand_over(sink: ReportSink, reports: list[Report], *, account: str, event: str) -> bool:
    """Whether the reports were taken; the log tells of those that were not, under the name `event`."""
    try:
        await sink(reports)
    except Exception as error:  # whatever went wrong there, the reports are still to be told
        log_event(event, account=account, waiting=len(reports), kind=type(error).__name__)
        return False
    return True
