// A modality: dcmjs-dimse asks for commitment and waits for the report on a
// server of its own.
const { Client, Server, Scp, Dataset, constants, requests, responses } = require('dcmjs-dimse');
const { NActionRequest } = requests;
const { NEventReportResponse, CEchoResponse } = responses;
const { SopClass, PresentationContextResult, TransferSyntax, Status } = constants;
const [host, port, listen, called, ...instances] = process.argv.slice(2);
const list = (x) => (x === undefined ? [] : [].concat(x));

class Modality extends Scp {
  associationRequested(association) {
    association.getPresentationContexts().forEach((c) => {
      association.getPresentationContext(c.id).setResult(PresentationContextResult.Accept, TransferSyntax.ImplicitVRLittleEndian);
    });
    this.sendAssociationAccept();
  }

  nEventReportRequest(request, callback) {
    const d = request.getDataset().getElements();
    console.log('report', request.getEventTypeId(), d.TransactionUID, list(d.ReferencedSOPSequence).map((r) => r.ReferencedSOPInstanceUID).join(',') || '-',
      list(d.FailedSOPSequence).map((r) => r.ReferencedSOPInstanceUID + ':' + r.FailureReason).join(',') || '-');
    const response = NEventReportResponse.fromRequest(request);
    response.setStatus(Status.Success);
    callback(response);
    setTimeout(() => process.exit(0), 200);
  }

  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

new Server(Modality).listen(Number(listen));
const ask = new NActionRequest(SopClass.StorageCommitmentPushModel, '1.2.840.10008.1.20.1.1', 1);
ask.setDataset(new Dataset({
  TransactionUID: '1.2.826.55',
  ReferencedSOPSequence: instances.map((i) => ({ ReferencedSOPClassUID: '1.2.840.10008.5.1.4.1.1.2', ReferencedSOPInstanceUID: i })),
}));
ask.on('response', (r) => console.log('action', r.getStatus().toString(16)));
const client = new Client();
client.addRequest(ask);
client.on('networkError', (e) => console.log('error', e.message));
client.send(host, Number(port), 'DCMJS', called);
