// The run loop: what the vCPU's thread does all its life. The engine handles whatever it can on the way
// (ports, MMIO, faults, interrupts); it comes back here only when somebody has to decide something. Started
// by the command line on a VcpuThread; ends when the machine does.

using Lhype.Cpu;

namespace Lhype.Machine;

/// <summary>Runs one vCPU until its machine ends.</summary>
public sealed class VcpuLoop
{
    private readonly VirtualMachine _machine;
    private readonly IVcpu _vcpu;

    /// <summary>Makes the loop for <paramref name="vcpu"/> of <paramref name="machine"/>.</summary>
    public VcpuLoop(VirtualMachine machine, IVcpu vcpu)
    {
        _machine = machine;
        _vcpu = vcpu;
    }

    /// <summary>Runs the guest. Returns how the machine ended.</summary>
    public MachineExit Run()
    {
        while (true)
        {
            // Timers that are due, and what other threads have posted: terminal input, a stop, a pause.
            _machine.Poll();

            // Power-off, reset, a kill, the user: somebody ended the machine, maybe in the middle of a port
            // write.
            if (_machine.Ended is { } exit)
            {
                return exit;
            }

            // Paused by the user: the guest stands still, its clocks run on, only posted work can change
            // that.
            if (_machine.Paused)
            {
                _machine.Sleep(untilDeadline: false);
                continue;
            }

            switch (_vcpu.Run())
            {
                // HLT. With interrupts on, sleep until a timer or a post may bring one. With interrupts off
                // nothing ever will: the guest has stopped for good, which "halt" and some crash handlers do
                // on purpose.
                case VcpuExit.Halt when VcpuRegisters.InterruptsEnabled(_vcpu):
                    _machine.Sleep(untilDeadline: true);
                    break;
                case VcpuExit.Halt:
                    _machine.Kill("it halted with interrupts disabled, nothing can wake it");
                    break;

                // A triple fault. Loading an empty IDT first is how operating systems reset a PC that ignores
                // every other way; with a usable IDT it is a crash.
                case VcpuExit.Shutdown when VcpuRegisters.IdtLimit(_vcpu) == 0:
                    _machine.RequestReset();
                    break;
                case VcpuExit.Shutdown:
                    _machine.Kill("triple fault");
                    break;

                // Kicked: whatever it was for is done at the top of the loop.
                default:
                    break;
            }
        }
    }
}
