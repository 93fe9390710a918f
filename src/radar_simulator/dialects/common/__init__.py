"""Parts of several protocols: messages, markets, Centrifugo, the exchange that owns connections."""
