// A RIS: dcmjs-dimse takes steps and prints what it gets.
const { Server, Scp, constants, responses } = require('dcmjs-dimse');
const { NCreateResponse, NSetResponse, CEchoResponse } = responses;
const { PresentationContextResult, TransferSyntax, Status } = constants;

const steps = {};

class Ris extends Scp {
  associationRequested(association) {
    association.getPresentationContexts().forEach((c) => {
      association.getPresentationContext(c.id).setResult(PresentationContextResult.Accept, TransferSyntax.ImplicitVRLittleEndian);
    });
    this.sendAssociationAccept();
  }

  nCreateRequest(request, callback) {
    const uid = request.getAffectedSopInstanceUid();
    const response = NCreateResponse.fromRequest(request);
    response.setStatus(steps[uid] ? 0x0111 : Status.Success);
    steps[uid] = request.getDataset().getElements().PerformedProcedureStepStatus;
    console.log('create', uid, steps[uid]);
    callback(response);
  }

  nSetRequest(request, callback) {
    const uid = request.getRequestedSopInstanceUid();
    const response = NSetResponse.fromRequest(request);
    response.setStatus(steps[uid] === 'IN PROGRESS' ? Status.Success : 0x0110);
    steps[uid] = request.getDataset().getElements().PerformedProcedureStepStatus;
    console.log('set', uid, steps[uid]);
    callback(response);
  }

  associationReleaseRequested() {
    this.sendAssociationReleaseResponse();
  }
}

new Server(Ris).listen(Number(process.argv[2]));
