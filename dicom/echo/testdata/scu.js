// dcmjs-dimse asks for ten C-ECHOs over an association with a window of five.
const { Client, requests } = require('dcmjs-dimse');
const [host, port] = process.argv.slice(2);
const client = new Client();
for (let i = 0; i < 10; i++) {
  const request = new requests.CEchoRequest();
  request.on('response', (r) => console.log('echo', r.getMessageIdBeingRespondedTo(), r.getStatus()));
  client.addRequest(request);
}
client.on('associationAccepted', (a) => console.log('window', a.getMaxAsyncOpsInvoked(), a.getMaxAsyncOpsPerformed()));
client.on('networkError', (e) => { console.log('error', e.message); process.exit(1); });
client.on('closed', () => process.exit(0));
client.send(host, Number(port), 'DCMJS', 'NHIP', { asyncOps: { maxAsyncOpsInvoked: 5, maxAsyncOpsPerformed: 2 } });
