// An archive: dcmjs-dimse takes objects and requests for commitment, and reports over
// an association of its own; instances that end with .9 it does not have.
const { Client, Server, Scp, Dataset, constants, requests, responses } = require('dcmjs-dimse');
const { NEventReportRequest } = requests;
const { NActionResponse, CStoreResponse } = responses;
const { SopClass, PresentationContextResult, TransferSyntax, Status } = constants;
const [listen, host, port] = process.argv.slice(2);

function report(transaction, all) {
  const missing = (r) => r.ReferencedSOPInstanceUID.endsWith('.9');
  const d = { TransactionUID: transaction };
  const good = all.filter((r) => !missing(r));
  const bad = all.filter(missing).map((r) => ({ ...r, FailureReason: 0x0112 }));
  if (good.length) d.ReferencedSOPSequence = good;
  if (bad.length) d.FailedSOPSequence = bad;
  const request = new NEventReportRequest(SopClass.StorageCommitmentPushModel, '1.2.840.10008.1.20.1.1', bad.length ? 2 : 1);
  request.setDataset(new Dataset(d));
  const client = new Client();
  client.addRequest(request);
  client.on('networkError', (e) => console.log('error', e.message));
  client.send(host, Number(port), 'DCMJS', 'NHIP');
}

class Archive extends Scp {
  associationRequested(association) {
    association.getPresentationContexts().forEach((c) => {
      const context = association.getPresentationContext(c.id);
      const proposed = context.getTransferSyntaxUids();
      const implicit = proposed.includes(TransferSyntax.ImplicitVRLittleEndian);
      context.setResult(PresentationContextResult.Accept, implicit ? TransferSyntax.ImplicitVRLittleEndian : proposed[0]);
    });
    this.sendAssociationAccept();
  }

  cStoreRequest(request, callback) {
    const response = CStoreResponse.fromRequest(request);
    response.setStatus(Status.Success);
    callback(response);
  }

  nActionRequest(request, callback) {
    const d = request.getDataset().getElements();
    const response = NActionResponse.fromRequest(request);
    response.setStatus(Status.Success);
    callback(response);
    report(d.TransactionUID, [].concat(d.ReferencedSOPSequence).map((r) => ({
      ReferencedSOPClassUID: r.ReferencedSOPClassUID, ReferencedSOPInstanceUID: r.ReferencedSOPInstanceUID,
    })));
  }

  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

new Server(Archive).listen(Number(listen));
