// What becomes of a host exception in emitted code: a page missing in the user window, or an exception that
// is the guest's own. Called by the run loop when the signal handler has led there (Thunks.HostFault).

using System;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Mmu;
using Lhype.Host;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class TranslatorVcpu
{
    /// <summary>The host raised an exception in emitted code. Returns where to go on in emitted code, or null
    /// for the loop; <paramref name="alive"/> is false after a triple fault.</summary>
    private byte* HandleHostFault(out bool alive)
    {
        _statistics.HostSignals++;
        alive = true;
        int offset = (int)(_state->ExitHostPc - (ulong)_code.Executable);
        ref Block block = ref BlockOfFault(offset);
        MapEntry entry = _cache.FindInstruction(block, offset);
        if (entry.FlagsParked)
        {
            TakeParkedFlags();
        }

        bool inLongWindow = (block.Page.ModeKey & ModeKey.Long) != 0 && ModeKey.HasWindow(block.Page.ModeKey);
        if (_state->HostTrap == Vector.PageFault && _memory.Window.Contains(_state->HostFaultAddress))
        {
            return HandleWindowFault(ref block, entry, out alive);
        }

        if (_state->HostTrap == Vector.GeneralProtection && inLongWindow)
        {
            // Not canonical, or not aligned: the TLBs' way tells which.
            TakeLentRegisters(entry);
            _ = LocateFault(_state->ExitHostPc);
            _stepOut = true;
            return null;
        }

        _ = LocateFault(_state->ExitHostPc);
        alive = DeliverHostFault();
        return null;
    }

    private byte* HandleWindowFault(ref Block block, in MapEntry entry, out bool alive)
    {
        alive = true;
        bool wide = (block.Page.ModeKey & ModeKey.Long) != 0;
        if (!wide)
        {
            // String instructions run on host addresses in a window.
            for (int i = 0; i < 8; i++)
            {
                _state->Gpr[i] = (uint)_state->Gpr[i];
            }
        }

        WindowFault result = _memory.Window.Resolve(_state->HostFaultAddress, (_state->HostError & 2) != 0);
        _modeDirty |= _state->WindowActive == 0;
        if (result == WindowFault.Mapped)
        {
            return _code.Executable
                + (wide ? _thunks.Resume : _cache.StartOfInstruction(block, entry));
        }

        if (wide)
        {
            TakeLentRegisters(entry);
        }

        _ = LocateFault(_state->ExitHostPc);
        switch (result)
        {
            case WindowFault.Unmappable:
                _stepOut = true;
                break;
            case WindowFault.GuestFault when wide && IsGather(block, entry):
                // C# knows how far it got.
                _stepOut = true;
                break;
            case WindowFault.GuestFault:
                alive = Deliver();
                break;
        }

        return null;
    }

    /// <summary>True if the guest instruction at <paramref name="entry"/> may be a gather: opcodes 90 to 93
    /// of VEX map 2.</summary>
    private bool IsGather(in Block block, in MapEntry entry)
    {
        if (block.SecondGpa != ulong.MaxValue)
        {
            return true;
        }

        byte* code = _ram.Base + block.Page.Gpa + entry.GuestOffset;
        while (*code is 0x67 or 0x2E or 0x36 or 0x3E or 0x26)
        {
            code++;
        }

        return code[0] == 0xC4 && (code[1] & 31) == 2 && (code[3] & ~3) == 0x90;
    }

    /// <summary>In the window of a 64-bit program a repeated string instruction runs on host addresses, which
    /// r9 and r10 tell from its own (see Translator.LowerRepeatedInLongWindow), and one that names AH to BH
    /// has the host address in RSI for the moment and the guest's RSI in r8 (LongInstructionCopy).</summary>
    private void TakeLentRegisters(in MapEntry entry)
    {
        byte* code = (byte*)_state->ExitHostPc;
        if (_code.Executable + entry.HostOffset == code - 3 && code[-3] == 0x4C && code[-2] == 0x87
            && code[-1] == 0xC6)
        {
            _state->Gpr[6] = _state->HostFaultGpr[0];
            return;
        }

        if (*code is not (0xF2 or 0xF3))
        {
            return;
        }

        int position = code[1] is 0x66 or 0x48 ? 2 : 1;
        int opcode = code[position] & 0xFE;
        if (opcode is 0xA4 or 0xA6 or 0xAC)
        {
            _state->Gpr[6] -= _state->HostFaultGpr[1];
        }

        if (opcode is 0xA4 or 0xA6 or 0xAA or 0xAE)
        {
            _state->Gpr[7] -= _state->HostFaultGpr[2];
        }
    }

    private bool DeliverHostFault()
    {
        switch (_state->HostTrap)
        {
            case Vector.DivideError or Vector.InvalidOpcode or Vector.FloatingPoint:
                _ = Fault.Raise(_state, _state->HostTrap);
                break;
            case Vector.SimdFloatingPoint:
                // SDM vol. 3, 2.5: without CR4.OSXMMEXCPT an unmasked SIMD exception is #UD.
                _ = Fault.Raise(_state, (_state->Cr4 & ControlBits.Cr4Osxmmexcpt) != 0
                    ? Vector.SimdFloatingPoint : Vector.InvalidOpcode);
                break;
            case Vector.GeneralProtection:
                _ = Fault.Raise(_state, Vector.GeneralProtection);
                break;
            default:
                Invariant.Fail($"host exception {_state->HostTrap} at guest address {LinearRip:x} "
                    + $"(host {_state->ExitHostPc:x}, address {_state->HostFaultAddress:x})");
                break;
        }

        return Deliver();
    }
}
