"""Parts of protocols that several exchanges share."""
