// What the slow path of memory operands calls in C# (see MemoryThunks.cs): Prepare and Commit of one vCPU.

using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Threading;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Mmu;

namespace Lhype.Cpu.Translator;

internal sealed unsafe partial class TranslatorVcpu
{
    private static TranslatorVcpu Of(CpuState* state) =>
        Unsafe.As<TranslatorVcpu>(GCHandle.FromIntPtr(state->Handle).Target!);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static byte* PrepareEntry(CpuState* state, ulong address, uint info) =>
        Of(state).Prepare(address, info);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static uint CommitEntry(CpuState* state) => Of(state).Commit();

    private byte* Prepare(ulong address, uint info)
    {
        if ((info & AccessInfo.Segmented) != 0)
        {
            SegmentRegister segment = (SegmentRegister)((info >> AccessInfo.SegmentShift) & 7);
            if (!_processor.TryLinearize(segment, address, (int)(info & AccessInfo.SizeMask),
                (info & AccessInfo.Write) != 0, out address))
            {
                info |= AccessInfo.Refused;
            }
        }

        _state->Activity = (int)Activity.Operand;
        byte* host = (info & AccessInfo.Refused) != 0 ? null : _memory.Prepare(address, info);
        _state->Activity = (int)Activity.Guest;
        if (host == null && (info & AccessInfo.X87) != 0 && (_native.Fnstsw() & 0x80) != 0)
        {
            _ = Fault.Raise(_state, Vector.FloatingPoint);
        }

        if (_state->BounceActive != 0)
        {
            UpdateInterruptWaiting();
        }

        return host;
    }

    private uint Commit()
    {
        _state->Activity = (int)Activity.Operand;
        bool dropped = _memory.Commit();
        _state->Activity = (int)Activity.Guest;
        UpdateInterruptWaiting();
        return dropped ? 1u : 0;
    }
}
