// npm's onvif as whoever looks for cameras: asks once by WS-Discovery and prints what answered, as JSON.
import onvif from "onvif";

onvif.Discovery.on("error", () => {});
onvif.Discovery.probe({ timeout: 2000, resolve: false }, (error, found) => {
  const matches = (found ?? []).map((one) => one.probeMatches.probeMatch);
  console.log(
    JSON.stringify(
      matches.map((match) => ({
        endpoint: match.endpointReference.address,
        types: match.types,
        scopes: match.scopes,
        xaddrs: match.XAddrs,
      })),
    ),
  );
  process.exit(0);
});
