// One vCPU of the translating engine: owns the state, the TLBs, the code memory and the run loop that
// alternates between emitted code and C#. Everything emitted code cannot do arrives here as an ExitReason.

using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Threading;
using Lhype.Cpu.Architecture;
using Lhype.Cpu.Mmu;
using Lhype.Host;

namespace Lhype.Cpu.Translator;

/// <summary>A vCPU that runs translated code on its thread.</summary>
internal sealed unsafe partial class TranslatorVcpu : IVcpu
{
    /// <summary>Guest instructions between two looks at events: about 10 us of guest time.</summary>
    private const int Budget = 49152;

    /// <summary>What the budget is charged for an instruction that C# executes: it takes as long as this
    /// many others, and events must not wait the longer for code that is full of them.</summary>
    private const int TrapCharge = 256;

    /// <summary>Room for the calls of one budget, which is when its depth is looked at, for as many before
    /// them, and for a signal handler.</summary>
    private const int ReturnStackBytes = (2 * Budget * 16) + (512 << 10);
    private const ulong DeepestReturns = Budget * 16;

    private readonly GuestRam _ram;
    private readonly ICpuBus _bus;
    private readonly GuardedMemory _stateMemory;
    private readonly CpuState* _state;
    private readonly LinearMemory _memory;
    private readonly CodeMemory _code;
    private readonly Emitter _emitter;
    private readonly BlockCache _cache;
    private readonly Thunks _thunks;
    private readonly Translator _translator;
    private readonly JumpCache _jumps;
    private readonly ReturnStack _returns = new(ReturnStackBytes);
    private readonly Processor _processor;
    private readonly NativeRoutines _native = new();
    private readonly IDisposable _faultRange;
    private readonly delegate* unmanaged[Cdecl]<CpuState*, byte*, void> _enter;
    private readonly int _codeEnd;
    private GCHandle _handle;
    private IDisposable? _alternateStack;
    private int _preparedThread = -1;
    private int _generation;
    private volatile bool _stop;
    private bool _stepOut;
    private uint _returnMode;
    private bool _modeDirty = true;
    private ulong _translationTicks;
    private EngineStatistics _statistics;

    internal TranslatorVcpu(GuestRam ram, ICpuBus bus, CpuModel model, TranslatorEngine options)
    {
        _ram = ram;
        _bus = bus;
        _stateMemory = new GuardedMemory(CpuState.SizeBytes, (nuint)CpuState.RegionGuardBytes);
        _state = (CpuState*)_stateMemory.Start;
        _memory = new LinearMemory(_state, ram, bus, options.AlwaysWindow, options.AlwaysMapAt);
        _code = new CodeMemory(options.CodeBytes);
        _emitter = new Emitter(_code);
        _cache = new BlockCache(_memory, _emitter);
        _thunks = new Thunks(_emitter, _code, _native, model, options.TestsUppers,
            (nint)(delegate* unmanaged[Cdecl]<CpuState*, ulong, uint, byte*>)&PrepareEntry,
            (nint)(delegate* unmanaged[Cdecl]<CpuState*, uint>)&CommitEntry);
        _jumps = new JumpCache(_state, _memory);
        _translator = new Translator(_state, _emitter, _thunks, _cache, _memory, _jumps, ram, model,
            options);
        _state->JumpMiss = (ulong)_code.Executable;
        _returns.SetBottom((ulong)(_code.Executable + _thunks.ReturnMiss));
        _state->ReturnTop = _returns.Top;
        _memory.ForgetReturns();
        _processor = new Processor(_state, _memory, ram, bus, _native, model);
        _enter = (delegate* unmanaged[Cdecl]<CpuState*, byte*, void>)(_code.Executable + _thunks.Enter);
        _codeEnd = _thunks.End;
        _faultRange = FaultHandler.Register(_code.Executable, (nuint)_code.Size,
            _code.Executable + _thunks.HostFault,
            new FaultSlots(CpuState.Offset.ExitHostPc, CpuState.Offset.HostTrap,
                CpuState.Offset.HostFaultAddress, CpuState.Offset.HostError));
        _handle = GCHandle.Alloc(this);
        Reset();
    }

    /// <inheritdoc/>
    public CpuState* State => _state;

    /// <inheritdoc/>
    public EngineStatistics Statistics
    {
        get
        {
            EngineStatistics statistics = _statistics;
            statistics.TranslationNs = (ulong)((UInt128)_translationTicks * 1_000_000_000 / _bus.TscHz);
            statistics.Instructions = _state->InstructionCount;
            statistics.InstructionsTranslated = _translator.InstructionsTranslated;
            statistics.HostBytes = _translator.HostBytes;
            statistics.TlbMisses = _memory.Misses;
            statistics.TlbWalks = _state->TlbWalks;
            statistics.SystemThunks = _state->SystemThunks;
            statistics.TlbFlushes = _memory.Flushes;
            statistics.BlocksInvalidated = _cache.Invalidated;
            statistics.BouncedAccesses = _memory.Bounced;
            return statistics;
        }
    }

    /// <inheritdoc/>
    public void Reset()
    {
        _processor.Reset();
        _state->Handle = GCHandle.ToIntPtr(_handle);
        _state->CodeBase = (ulong)_code.Executable;
        _state->Mxcsr = 0x1F80;
        _state->HostMxcsr = 0x1F80;
        StateChanged();
    }

    /// <inheritdoc/>
    public void StateChanged()
    {
        _modeDirty = true;
        _processor.DropDescriptors();
        _memory.FlushAll();
    }

    /// <inheritdoc/>
    public ParavirtualCpu AttachParavirtual(IParavirtualHost host)
    {
        ParavirtualCpu cpu = new(_state, _memory, _processor, host, () => _modeDirty = true);
        _processor.Attach(cpu);
        _memory.LargePageMet = cpu.RefuseLargePage;
        return cpu;
    }

    /// <inheritdoc/>
    public void InvalidateCode(ulong gpa, ulong length)
    {
        while (length != 0)
        {
            ulong part = Math.Min(length, 4096 - (gpa & 4095));
            if (_memory.HoldsCode(gpa))
            {
                _ = _cache.CodeWritten(gpa, (int)part);
            }

            gpa += part;
            length -= part;
        }
    }

    /// <inheritdoc/>
    public void Kick(bool stop)
    {
        if (stop)
        {
            _stop = true;
        }

        Volatile.Write(ref _state->EventPending, 1);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _sampler?.Dispose();
        _faultRange.Dispose();
        _alternateStack?.Dispose();
        _cache.Clear();
        _code.Dispose();
        _returns.Dispose();
        _memory.Dispose();
        _handle.Free();
        _stateMemory.Dispose();
    }

    /// <inheritdoc/>
    public VcpuExit Run()
    {
        PrepareThread();
        _memory.Window.Enter();
        _state->Activity = (int)Activity.Guest;
        VcpuExit exit = RunUntilExit();
        _state->Activity = (int)Activity.Outside;
        return exit;
    }

    private VcpuExit RunUntilExit()
    {
        while (true)
        {
            if (_state->Counter <= 0)
            {
                _state->Counter = Budget;
                _state->BudgetStart = Budget;
                PollBus();
            }

            // Events: what other threads asked for, then interrupts. Only here, so an instruction is never
            // split.
            if (Volatile.Read(ref _state->EventPending) != 0)
            {
                Volatile.Write(ref _state->EventPending, 0);
                if (_stop)
                {
                    _stop = false;
                    return VcpuExit.Kick;
                }

                PollBus();
            }

            bool shadow = _state->InterruptShadow != 0;
            if (!TakeInterrupt(shadow))
            {
                return VcpuExit.Shutdown;
            }

            if (_state->Halted != 0)
            {
                return VcpuExit.Halt;
            }

            // One instruction alone: under TF, and behind STI or MOV SS when an interrupt is waiting for it.
            uint mode = CurrentMode();
            if (_translator.AvxEnabled != _processor.AvxEnabled)
            {
                // Once or twice in a kernel's life, and the translation mode has no bit to spare.
                FlushTranslations();
                _translator.AvxEnabled = _processor.AvxEnabled;
            }

            bool trapFlag = (_state->SystemFlags & EflagsBits.Trap) != 0;
            if ((mode & ModeKey.SingleStep) != 0 && BreakpointHit())
            {
                if (!Deliver())
                {
                    return VcpuExit.Shutdown;
                }

                continue;
            }

            if (shadow)
            {
                _state->InterruptShadow = 0;
                if (_state->InterruptWaiting != 0)
                {
                    mode |= ModeKey.SingleStep;
                }
            }

            bool steppingOut = _stepOut;
            if (steppingOut)
            {
                _stepOut = false;
                mode = (mode & ~ModeKey.Window) | ModeKey.SingleStep;
            }

            ulong start = _state->Rip;
            byte* code = (mode & (ModeKey.Flat | ModeKey.Long)) != 0
                ? Find(LinearRip, mode)
                : FindWithinLimit(LinearRip, ref mode);
            bool alive = code != null ? RunFrom(code, mode, trapFlag) : Deliver();
            if (!alive)
            {
                return VcpuExit.Shutdown;
            }

            // Nothing has run: the block only polled, which may have brought an interrupt, or found another
            // second page. What was meant for its first instruction still is.
            if (_state->Rip == start
                && (ExitReason)_state->ExitReason is ExitReason.Poll or ExitReason.CrossPage)
            {
                _state->InterruptShadow = shadow ? 1u : _state->InterruptShadow;
                _stepOut |= steppingOut;
            }
        }
    }

    /// <summary>True, with #DB recorded, if an instruction breakpoint matches; also starts the watch for data
    /// breakpoints of the instruction.</summary>
    private bool BreakpointHit()
    {
        _ = _processor.TakeDataBreakpointHits();
        return _processor.CodeBreakpointHit();
    }

    private ulong LinearRip => Processor.LinearOf(_state, _state->Rip);

    /// <summary>Delivers a pending external interrupt if the guest lets it in. False: triple fault.</summary>
    private bool TakeInterrupt(bool shadow)
    {
        bool requested = _bus.InterruptRequested;
        if (requested && !shadow && _state->InterruptFlag != 0)
        {
            int vector = _bus.AcknowledgeInterrupt();
            if (vector >= 0)
            {
                _state->Halted = 0;
                _modeDirty = true;
                _statistics.Interrupts++;
                _state->Activity = (int)Activity.Interrupt;
                bool alive = _processor.DeliverInterrupt(vector);
                _state->Activity = (int)Activity.Guest;
                if (!alive)
                {
                    return false;
                }
            }

            requested = _bus.InterruptRequested;
        }

        _state->InterruptWaiting = requested ? 1u : 0;
        return true;
    }

    private uint CurrentMode()
    {
        if (_modeDirty)
        {
            _modeDirty = false;
            _state->ModeKey = _processor.ComputeModeKey();
            if (_memory.Window.OpensAtOnce && IsWindowMode(_state->ModeKey))
            {
                _ = _memory.Window.CountUserTime();
                _state->ModeKey = _processor.ComputeModeKey();
            }
            else if (_memory.Map.OpensAtOnce && _state->Cpl == 0 && _memory.Map.CountKernelTime())
            {
                _state->ModeKey = _processor.ComputeModeKey();
            }
        }

        return _state->ModeKey;
    }

    /// <summary>True for code that could run in a window.</summary>
    private static bool IsWindowMode(uint mode)
    {
        const uint wanted = ModeKey.User | ModeKey.Flat | ModeKey.Code32;
        return (mode & (wanted | ModeKey.SingleStep | ModeKey.Compatibility)) == wanted;
    }

    /// <summary>Runs emitted code from <paramref name="code"/> until something needs the loop above. False:
    /// triple fault.</summary>
    private bool RunFrom(byte* code, uint mode, bool trapFlag)
    {
        if (mode != _returnMode || _state->ReturnTop - _state->ReturnStack > DeepestReturns)
        {
            _memory.ForgetReturns();
        }

        while (true)
        {
            _enter(_state, code);
            if ((mode & ModeKey.SingleStep) == 0)
            {
                // Emitted code changes rings and segments by itself.
                mode = _state->ModeKey;
            }

            _returnMode = mode;

            _state->InstructionCount += (ulong)(_state->BudgetStart - _state->Counter);
            _state->BudgetStart = _state->Counter;
            if (_profile != null && _sampler!.HasSample)
            {
                TakeSample();
            }

            switch ((ExitReason)_state->ExitReason)
            {
                case ExitReason.Indirect:
                    _statistics.IndirectExits++;
                    SetLinearRip(_state->Rip);
                    if ((mode & (ModeKey.SingleStep | ModeKey.Flat)) != ModeKey.Flat
                        || Volatile.Read(ref _state->EventPending) != 0)
                    {
                        return Completed(trapFlag);
                    }

                    code = FindForJump(mode);
                    if (code == null)
                    {
                        return Deliver();
                    }

                    break;
                case ExitReason.Poll:
                    _statistics.PollExits++;
                    SetLinearRip(_state->Rip);
                    _state->Counter = 0;
                    CountTime(mode);
                    return true;
                case ExitReason.Link:
                    _statistics.LinkExits++;
                    SetLinearRip(_state->Rip);
                    code = LinkAndFind((int)_state->ExitSite, mode);
                    if (code == null || Volatile.Read(ref _state->EventPending) != 0)
                    {
                        return code != null || Deliver();
                    }

                    break;
                case ExitReason.Trap:
                    code = ExecuteTrap(trapFlag, out bool alive);
                    if (code == null)
                    {
                        return alive;
                    }

                    break;
                case ExitReason.MemoryFault:
                    LocateFault(_state->ExitHostPc - 1);
                    return Deliver();
                case ExitReason.HostFault:
                    code = HandleHostFault(out bool survives);
                    if (code == null)
                    {
                        return survives;
                    }

                    break;
                case ExitReason.CodeDropped:
                    LocateNext();
                    return Completed(trapFlag);
                default:
                    SetLinearRip(_state->Rip);
                    return ResolveCrossPage(mode) || Deliver();
            }
        }
    }

    /// <summary>A budget has been used up in <paramref name="mode"/>: this may be the time for a window or
    /// for the kernel's map.</summary>
    private void CountTime(uint mode)
    {
        const uint kernel = ModeKey.Flat | ModeKey.Code32;
        if (IsWindowMode(mode))
        {
            _modeDirty |= _memory.Window.CountUserTime();
        }
        else if ((mode & (kernel | ModeKey.User)) == kernel)
        {
            uint start = _memory.Map.Start;
            _modeDirty |= _memory.Map.CountKernelTime();
            if (start != 0 && _memory.Map.Start != start)
            {
                FlushTranslations();
            }
        }
    }

    private void PollBus()
    {
        _state->Activity = (int)Activity.Poll;
        _bus.Poll();
        _state->Activity = (int)Activity.Guest;
    }

    private bool Deliver()
    {
        _statistics.Faults++;
        _modeDirty = true;
        _state->Activity = (int)Activity.Exception;
        bool alive = _processor.DeliverException();
        _state->Activity = (int)Activity.Guest;
        return alive;
    }

    /// <summary>An instruction is done: the traps that come after it. False: triple fault.</summary>
    private bool Completed(bool trapFlag)
    {
        ulong hits = _processor.TakeDataBreakpointHits();
        if (!trapFlag && hits == 0)
        {
            return true;
        }

        _modeDirty = true;
        return _processor.DeliverDebugTrap(hits | (trapFlag ? Processor.SingleStepStatus : 0));
    }

    /// <summary>Executes the trapped instruction. Returns where to go on in emitted code, or null for the
    /// loop.</summary>
    private byte* ExecuteTrap(bool trapFlag, out bool alive)
    {
        _statistics.TrapExits++;
        _state->Counter -= TrapCharge;
        _state->BudgetStart -= TrapCharge;
        alive = true;
        ref TrapSite site = ref _translator.TrapAt((int)_state->ExitSite);
        ref Block block = ref _cache.BlockAt(site.Block);
        ulong linear = _memory.Wrap(_state->CodePageBase + (ulong)site.GuestOffset);
        SetLinearRip(linear);
        ulong next = _state->Rip + (ulong)site.Instruction.Length;
        int remaining = site.Charged;
        if (site.StepsOut)
        {
            _state->InstructionCount -= (ulong)(remaining + 1);
            _stepOut = true;
            return null;
        }

        int generation = _generation;
        _modeDirty |= site.ChangesMode;
        _profile?.CountTrap(linear, site.Instruction.Mnemonic);
        Outcome outcome = _processor.Execute(site.Instruction);
        if (site.Instruction.IsStringInstruction && IsWindowMode(block.Page.ModeKey))
        {
            // A string that C# had to do is worth many instructions, and in a window C# is not needed.
            _modeDirty |= _memory.Window.CountUserTime();
        }

        if (outcome == Outcome.Done && site.Continuation != 0 && _state->Rip == next
            && IsModeOf(block)
            && generation == _generation && block.Valid && !trapFlag && _state->InterruptShadow == 0
            && Volatile.Read(ref _state->EventPending) == 0 && !InterruptDeliverable())
        {
            return _code.Executable + site.Continuation;
        }

        _state->InstructionCount -= (ulong)remaining;
        switch (outcome)
        {
            case Outcome.Fault:
                alive = Deliver();
                break;
            case Outcome.Halt:
                _state->Halted = 1;
                break;
            default:
                // A string instruction with iterations left has done a piece: time to look for interrupts.
                if (_state->Rip == next - (ulong)site.Instruction.Length)
                {
                    Volatile.Write(ref _state->EventPending, 1);
                }

                // Software interrupts clear TF on their way; the trap of the INT itself is not taken.
                alive = Completed(trapFlag
                    && site.Instruction.FlowControl != Iced.Intel.FlowControl.Interrupt);
                break;
        }

        return null;
    }

    /// <summary>Notes whether an interrupt is waiting, and makes emitted code look soon if it can be
    /// taken.</summary>
    private void UpdateInterruptWaiting()
    {
        if (InterruptDeliverable())
        {
            _state->BudgetStart -= _state->Counter + 1;
            _state->Counter = -1;
        }
    }

    /// <summary>Notes whether an interrupt is waiting. True if EFLAGS.IF lets it in.</summary>
    private bool InterruptDeliverable()
    {
        bool requested = _bus.InterruptRequested;
        _state->InterruptWaiting = requested ? 1u : 0;
        return requested && _state->InterruptFlag != 0;
    }

    /// <summary>The CPU is in the mode that the block was translated for.</summary>
    private bool IsModeOf(in Block block) => CurrentMode() == ModeKey.Grouped(block.Page.ModeKey);

    private void SetLinearRip(ulong linear) =>
        _state->Rip = Processor.OffsetOf(_state, linear);

    /// <summary>Sets Rip to the guest instruction that the host address <paramref name="pc"/> belongs
    /// to.</summary>
    private MapEntry LocateFault(ulong pc)
    {
        int offset = (int)(pc - (ulong)_code.Executable);
        ref Block block = ref BlockOfFault(offset);
        MapEntry entry = _cache.FindInstruction(block, offset);
        SetLinearRip(_state->CodePageBase + entry.GuestOffset);
        _state->InstructionCount -= entry.Charged;
        return entry;
    }

    private ref Block BlockOfFault(int offset)
    {
        int index = _cache.FindByHost(offset);
        Invariant.Check(index >= 0,
            $"fault at host offset {offset:x} outside any block (end {_emitter.Offset:x})");
        return ref _cache.BlockAt(index);
    }

    private void LocateNext()
    {
        MapEntry entry = LocateFault(_state->ExitHostPc);
        if (entry.FlagsParked)
        {
            TakeParkedFlags();
        }
    }

    /// <summary>AH = SF ZF AF PF CF and AL = OF, as ParkFlags left them in r11.</summary>
    private void TakeParkedFlags()
    {
        uint parked = (uint)_state->Temp0;
        _state->ArithFlags = ((parked >> 8) & 0xFF) | ((parked & 1) << 11);
    }

    private void PrepareThread()
    {
        if (_preparedThread != Environment.CurrentManagedThreadId)
        {
            _preparedThread = Environment.CurrentManagedThreadId;
            _alternateStack = FaultHandler.PrepareThread();
            _native.Fninit();
            _sampler?.Start();
        }
    }
}
