# Debian's Python 3.11 where the official image has its own, with the pip options of this machine.
FROM radar-standin/base
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY pip.conf /etc/pip.conf
RUN ln -s /usr/bin/python3.11 /usr/local/bin/python && ln -s /usr/bin/pip3 /usr/local/bin/pip
