"""A simulated camera's voice on the local network, and voices that lie.

The map::

    mdns         DNS-SD over multicast DNS, with python-zeroconf
    wsdiscovery  ONVIF's WS-Discovery, written from its specification
    link         which interfaces of this machine it speaks on
    liar         false adverts, each for one trap that a listener may fall into

A face has ``async def run(self)``: it speaks until cancelled and then says goodbye.
"""
