"""The web side: webhook, pages, API and live updates, over the port in `port`."""
