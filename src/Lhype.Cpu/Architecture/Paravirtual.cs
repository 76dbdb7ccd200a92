// The processor as a paravirtual guest's kernel at CPL 1 meets it (docs/hypercalls.md): the hypercall
// instructions, the few privileged instructions the host plays along with, and traps and interrupts that go
// through the gates the host holds, with the kernel's own interrupt flag in place of EFLAGS.IF. Called from
// Execute and Events when a ParavirtualCpu is attached.

using Iced.Intel;

namespace Lhype.Cpu.Architecture;

public sealed unsafe partial class Processor
{
    private ParavirtualCpu? _paravirtual;

    /// <summary>From now on the guest is paravirtual.</summary>
    internal void Attach(ParavirtualCpu paravirtual) => _paravirtual = paravirtual;

    /// <summary>Sets those CR4 bits of <paramref name="wanted"/> that the CPU model has.</summary>
    internal void EnableFeatures(ulong wanted) => _state->Cr4 = wanted & _model.Cr4Mask;

    /// <summary>CR3 for a paravirtual guest. False: a PDPTE has reserved bits set.</summary>
    internal bool TryLoadPageTable(uint top) => TrySetCr3(top);

    /// <summary>Executes what a paravirtual kernel may do and a real CPL 1 may not. False: nothing of the
    /// kind, go on as usual.</summary>
    private bool TryExecuteParavirtual(in Instruction instruction, ulong nextIp, out Outcome outcome)
    {
        outcome = Outcome.Done;
        if (_state->Cpl != 1)
        {
            return false;
        }

        switch (instruction.Mnemonic)
        {
            case Mnemonic.Int when instruction.Immediate8 == ParavirtualCpu.HypercallVector:
            case Mnemonic.Vmcall:
                bool known = _paravirtual!.Host.Hypercall(instruction.Mnemonic == Mnemonic.Vmcall);
                outcome = Completed(known || RaiseUndefined(), nextIp);
                if (_state->Halted != 0)
                {
                    outcome = Outcome.Halt;
                }

                return true;
            case Mnemonic.In:
                WriteGpr(Eax, SizeOf(instruction.Op0Register), _bus.ReadPort(
                    (ushort)PortOf(instruction, 1), SizeOf(instruction.Op0Register)));
                break;
            case Mnemonic.Out:
                _bus.WritePort((ushort)PortOf(instruction, 0), SizeOf(instruction.Op1Register),
                    (uint)ReadRegister(instruction.Op1Register));
                break;
            case Mnemonic.Cli when _paravirtual!.Host.IgnoresCli:
                break;
            default:
                return false;
        }

        _state->Rip = nextIp;
        return true;
    }

    /// <summary>Delivers one event through the gates of the host. Only INT n can fail, with #GP; a guest that
    /// cannot take any other event is ended by its host.</summary>
    private bool TryDeliverParavirtual(uint vector, EventKind kind, bool hasError, uint error)
    {
        IParavirtualHost host = _paravirtual!.Host;
        ulong gate = _paravirtual.Idt[vector];
        bool present = (gate >> 47 & 1) != 0;
        if (kind == EventKind.Software && (!present || ((uint)(gate >> 45) & 3) < _state->Cpl))
        {
            return RaiseProtection((vector * 8) + 2);
        }

        if (vector == Vector.PageFault && kind == EventKind.Fault)
        {
            host.PageFaulted((uint)_state->FaultAddress);
        }

        if (!present)
        {
            uint detail = vector == Vector.PageFault ? (uint)_state->FaultAddress : error;
            return End($"unhandled trap {vector} at {(uint)_state->Rip:x8} ({detail:x})");
        }

        ulong target = (uint)(gate & 0xFFFF) | ((uint)(gate >> 32) & 0xFFFF_0000);
        if (kind == EventKind.External && _state->Cpl == 1 && host.FramelessReturn == (uint)_state->Rip)
        {
            return EnterOnOldFrame(target, gate);
        }

        if (!TryReadDescriptor(ParavirtualCpu.KernelCode, Vector.GeneralProtection, out ulong descriptor))
        {
            return true;
        }

        SegmentCache code = Unpack(descriptor, ParavirtualCpu.KernelCode | 1);
        const uint codeSegment = AttributePresent | AttributeSegment | AttributeCode;
        if ((code.Attributes & codeSegment) != codeSegment || code.Dpl != 1)
        {
            return End($"no kernel code segment in the GDT for trap {vector}");
        }

        SegmentCache stack = _state->Segment(SegmentRegister.Ss);
        ulong pointer = _state->Gpr[Esp];
        PushFrame frame = default;
        bool inner = _state->Cpl != 1;
        if (inner)
        {
            pointer = _paravirtual.StackPointer;
            if (!TryPrepareStack(_paravirtual.StackSelector, 1, Vector.InvalidTss, out stack))
            {
                return End($"bad stack segment {_paravirtual.StackSelector:x} for trap {vector}");
            }

            AddOuterStack(ref frame);
        }

        uint flags = (_state->Eflags & ~EflagsBits.Interrupt) | host.InterruptFlag;
        frame.Add(kind == EventKind.Fault ? flags | EflagsBits.Resume : flags);
        frame.Add(_state->Segment(SegmentRegister.Cs).Selector);
        frame.Add((uint)_state->Rip);
        if (hasError)
        {
            frame.Add(error);
        }

        if (!TryWriteFrame(ref stack, ref pointer, ref frame, 4, user: false, 0))
        {
            return End($"bad stack at {pointer:x8} for trap {vector} at {(uint)_state->Rip:x8}");
        }

        CommitHandler(ref code, ref stack, pointer, inner, target, clearInterrupt: false);
        MaskForGate(gate);
        return true;
    }

    /// <summary>The IRET that was to come next is skipped: its frame becomes the handler's, its flags the
    /// live ones.</summary>
    private bool EnterOnOldFrame(ulong target, ulong gate)
    {
        ulong at = _state->Gpr[Esp] + 8;
        if (!TryPop(ref at, 4, out ulong image))
        {
            return End($"bad stack at {_state->Gpr[Esp]:x8} before an interrupt");
        }

        const uint live = EflagsBits.Arithmetic | EflagsBits.Direction | EflagsBits.AlignmentCheck
            | EflagsBits.Identification;
        SetFlags((uint)image & live, live | EflagsBits.Trap | EflagsBits.NestedTask | EflagsBits.Resume);
        _state->Rip = target;
        MaskForGate(gate);
        return true;
    }

    /// <summary>An interrupt gate turns the kernel's interrupt flag off, a trap gate leaves it.</summary>
    private void MaskForGate(ulong gate)
    {
        if (((gate >> 40) & 1) == 0)
        {
            _paravirtual!.Host.InterruptFlag = 0;
        }
    }

    /// <summary>Has the host end the guest; counts as delivered.</summary>
    private bool End(string reason)
    {
        _paravirtual!.Host.Kill(reason);
        return true;
    }
}
